//! The baseline: one file per key, as a service writes it in an afternoon with `tokio::fs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Outcome, Store};

/// A directory with a file per key: SHA-256 in hexadecimal, fanned out over 256 directories by its first byte.
#[derive(Clone)]
pub struct FilePerKey {
    dir: Arc<PathBuf>,
    temporary: Arc<AtomicU64>,
}

impl FilePerKey {
    /// Makes the directory and its 256 parts.
    ///
    /// # Errors
    /// If they cannot be made.
    pub fn create(dir: &Path) -> std::io::Result<Self> {
        for part in 0..=255u8 {
            std::fs::create_dir_all(dir.join(format!("{part:02x}")))?;
        }
        Ok(Self { dir: Arc::new(dir.to_owned()), temporary: Arc::default() })
    }

    /// The file of a key.
    pub fn path(&self, key: &[u8]) -> PathBuf {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let digest = Sha256::digest(key);
        let hex: String =
            digest.iter().flat_map(|b| [HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]).map(char::from).collect();
        self.dir.join(&hex[..2]).join(hex)
    }

    /// What a restart has to do to know what there is: walks the tree. Entries and bytes.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn walk(dir: &Path) -> std::io::Result<(u64, u64)> {
        let (mut entries, mut bytes) = (0, 0);
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                let (e, b) = Self::walk(&entry.path())?;
                (entries, bytes) = (entries + e, bytes + b);
            } else {
                (entries, bytes) = (entries + 1, bytes + entry.metadata()?.len());
            }
        }
        Ok((entries, bytes))
    }
}

impl Store for FilePerKey {
    async fn get(&self, key: [u8; 16], len: usize) -> Outcome<bool> {
        match tokio::fs::read(self.path(&key)).await {
            Ok(value) => Ok(value.len() == len),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Written beside and renamed, so that no reader sees half a value.
    async fn set(&self, key: [u8; 16], value: Bytes) -> Outcome<()> {
        let path = self.path(&key);
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_extension(format!("tmp{number}"));
        tokio::fs::write(&temporary, &value).await?;
        tokio::fs::rename(&temporary, &path).await?;
        Ok(())
    }
}
