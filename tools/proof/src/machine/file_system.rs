//! The kinds of file systems.

use std::fs::File;
use std::path::Path;

use anyhow::Result;

use super::command::{run, text};

/// A kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// With its journal, data in order.
    Ext4,
    /// With its log.
    Xfs,
    /// Copy on write.
    Btrfs,
}

impl FileSystem {
    /// As a case and `mount` name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Ext4, Self::Xfs, Self::Btrfs].into_iter().find(|fs| fs.name() == name)
    }

    /// The program that makes one.
    pub(super) fn maker(self) -> &'static str {
        match self {
            Self::Ext4 => "mkfs.ext4",
            Self::Xfs => "mkfs.xfs",
            Self::Btrfs => "mkfs.btrfs",
        }
    }

    /// How large an image is: as small as the file system can be, with room for the load.
    fn image_len_bytes(self) -> u64 {
        match self {
            Self::Ext4 | Self::Xfs => 64 << 20,
            Self::Btrfs => 128 << 20,
        }
    }

    /// Makes an empty one in a new sparse file.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make(self, image: &Path) -> Result<()> {
        self.make_at_least(image, 0)
    }

    /// Makes an empty one in a new sparse file of at least this length.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make_at_least(self, image: &Path, len_bytes: u64) -> Result<()> {
        self.make_of(image, self.image_len_bytes().max(len_bytes))
    }

    /// Makes an empty one in a new sparse file of this length.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make_of(self, image: &Path, len_bytes: u64) -> Result<()> {
        File::create(image)?.set_len(len_bytes)?;
        // Nothing is left for the kernel to do in the background, nothing is discarded, and nothing kept for root.
        let options: &[&str] = match self {
            Self::Ext4 => {
                &["-q", "-F", "-b", "4096", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"]
            }
            // Below 300 MB xfs is for tests only, which this is one of.
            Self::Xfs => &["-q", "-f", "-K", "--unsupported"],
            Self::Btrfs => &["-q", "-f", "-K", "-m", "single", "-d", "single"],
        };
        run(self.maker(), options.iter().copied().chain([text(image)?])).map(drop)
    }
}
