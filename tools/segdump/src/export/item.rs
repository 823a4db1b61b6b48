//! What is known of an entry besides its value.

use base64::prelude::{BASE64_STANDARD, Engine};
use esker::format::namespace::split;
use esker::inspect::{Finding, escape};
use serde::Serialize;

use super::name;

/// An entry, as JSON has it. What is not text as it is shown stands in base64 too, so that nothing is lost.
#[derive(Debug, Serialize)]
pub struct Item {
    /// Name of the file that holds its value, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its namespace, escaped.
    pub namespace: Option<String>,
    /// Its namespace, if that is not what is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_base64: Option<String>,
    /// Its key within the namespace, escaped.
    pub key: String,
    /// Its key, if that is not what is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_base64: Option<String>,
    /// The user's metadata.
    pub metadata_base64: String,
    /// How many tags it has: of their texts the directory has digests only.
    pub tags: usize,
    /// Its sequence.
    pub sequence: Option<u64>,
    /// When it was set, in unix milliseconds.
    pub created: Option<u64>,
    /// When it expires, in unix milliseconds.
    pub expires: Option<u64>,
    /// Length of the value in bytes.
    pub value_len: u64,
    /// Where a file of it goes.
    #[serde(skip)]
    pub path: name::Place,
}

impl Item {
    /// Of a served key, as it stands on disk.
    pub fn new(disk_key: &[u8], finding: &Finding) -> Self {
        let (namespace, key) = split(disk_key).map_or((None, disk_key), |split| (Some(split.name), split.key));
        let shown = |bytes: &[u8]| {
            let shown = escape(bytes);
            let exact = (shown.as_bytes() != bytes).then(|| BASE64_STANDARD.encode(bytes));
            (shown, exact)
        };
        let (key_shown, key_base64) = shown(key);
        let (namespace_shown, namespace_base64) = namespace.map(|name| shown(name.as_bytes())).unzip();
        Self {
            file: None,
            namespace: namespace_shown,
            namespace_base64: namespace_base64.flatten(),
            key: key_shown,
            key_base64,
            metadata_base64: BASE64_STANDARD.encode(&finding.metadata),
            tags: finding.tags,
            sequence: finding.sequence,
            created: finding.created,
            expires: finding.expires,
            value_len: finding.len_bytes(),
            path: name::place(namespace, key),
        }
    }
}
