//! Names of files for keys: no two keys have one name, and none leads elsewhere.
//!
//! Letters, digits, `_`, `-` and `.` stand for themselves, a dot in front excepted; every other byte is `%` and two
//! hexadecimal digits. So no name holds a `/`, none is `.` or `..`, and none is hidden. What begins with `%` and goes on
//! otherwise is ours: `%empty`, `%index.jsonl`, `%long-…`. Folders of namespaces begin with `@`, which no key's name does.

use sha2::{Digest, Sha256};

/// The longest name that is made of a key alone; file systems take 255 bytes.
const MAX_NAME_BYTES: usize = 200;
/// Of a longer one, what stays readable.
const START_BYTES: usize = 120;

/// Where the file of a key goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The folder, if it is in a namespace.
    pub folder: Option<String>,
    /// The file's name in it.
    pub name: String,
}

impl Place {
    /// Both, with a `/` between them.
    pub fn path(&self) -> String {
        self.folder.as_ref().map_or_else(|| self.name.clone(), |folder| format!("{folder}/{}", self.name))
    }
}

/// The place of a key.
pub fn place(namespace: Option<&str>, key: &[u8]) -> Place {
    Place { folder: namespace.map(|name| format!("@{}", self::name(name.as_bytes()))), name: name(key) }
}

/// The name of a key.
pub fn name(key: &[u8]) -> String {
    if key.is_empty() {
        return "%empty".into();
    }
    let mut name = String::new();
    for (at, &byte) in key.iter().enumerate() {
        match byte {
            b'.' if at > 0 => name.push('.'),
            b'_' | b'-' => name.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => name.push(byte.into()),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
        if name.len() > MAX_NAME_BYTES {
            return long(key, &name);
        }
    }
    name
}

/// A digest tells long names apart that begin alike.
fn long(key: &[u8], name: &str) -> String {
    let digest: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("%long-{}-{digest}", &name[..START_BYTES])
}

#[cfg(test)]
mod tests {
    use super::{name, place};

    #[test]
    fn a_name_leads_nowhere_else() {
        assert_eq!(name(b"../../etc/passwd"), "%2E.%2F..%2Fetc%2Fpasswd");
        assert_eq!([name(b"."), name(b".."), name(b"")], ["%2E", "%2E.", "%empty"]);
        assert_eq!(name(b"/abs\\olute:x"), "%2Fabs%5Colute%3Ax");
        assert_eq!(name(b"\x1b[31m\n\0<script>"), "%1B%5B31m%0A%00%3Cscript%3E");
        assert_eq!(place(Some("../a"), b"k").path(), "@%2E.%2Fa/k");
    }

    #[test]
    fn names_of_different_keys_differ() {
        let long = |last: &str| name(format!("{}{last}", "x".repeat(60_000)).as_bytes());
        assert_ne!(long("a"), long("b"));
        assert!(long("a").len() <= 255 && name(&[0xff; 200]).len() <= 255);
        assert_ne!(name(b"%2E"), name(b"."));
        assert_ne!(name(b"%empty"), name(b""));
        assert_ne!(name(b"@a"), place(Some("a"), b"").folder.unwrap());
        assert_ne!(name(long("a").as_bytes()), long("a"));
    }
}
