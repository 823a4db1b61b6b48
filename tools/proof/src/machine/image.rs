//! A disk in memory, of which only what was written takes room.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Result;

/// What is held at a time.
pub const BLOCK_BYTES: usize = 4096;

/// The disk.
#[derive(Debug, Clone)]
pub struct Image {
    blocks: BTreeMap<u64, Box<[u8; BLOCK_BYTES]>>,
    len_bytes: u64,
}

impl Image {
    /// What is in a file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        let mut file = File::open(path)?;
        let mut image = Self { blocks: BTreeMap::new(), len_bytes: file.metadata()?.len() };
        let mut block = Box::new([0; BLOCK_BYTES]);
        for number in 0..image.len_bytes / BLOCK_BYTES as u64 {
            file.read_exact(&mut block[..])?;
            if block.iter().any(|byte| *byte != 0) {
                image.blocks.insert(number, block.clone());
            }
        }
        Ok(image)
    }

    /// Writes it into a new sparse file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let file = File::create(path)?;
        file.set_len(self.len_bytes)?;
        for (number, block) in &self.blocks {
            file.write_all_at(&block[..], number * BLOCK_BYTES as u64)?;
        }
        Ok(())
    }

    /// Writes `bytes` at `offset`; what would lie behind the end is left out.
    pub fn write(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() && offset < self.len_bytes {
            let (number, within) = (offset / BLOCK_BYTES as u64, (offset % BLOCK_BYTES as u64) as usize);
            let len = bytes.len().min(BLOCK_BYTES - within);
            let block = self.blocks.entry(number).or_insert_with(|| Box::new([0; BLOCK_BYTES]));
            block[within..within + len].copy_from_slice(&bytes[..len]);
            (offset, bytes) = (offset + len as u64, &bytes[len..]);
        }
    }
}
