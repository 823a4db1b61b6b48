//! The raw loops that a segment cache stands on: page-cache reads, sequential writes, reads of footers.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Random;
use super::raw_ring::{self, Place, Verb};

/// Block of direct I/O.
const BLOCK: u64 = 4096;
/// Length of a large write.
const WRITE_BYTES: u64 = 1 << 20;

/// Segment files opened for raw reads.
pub struct RawFiles {
    files: Vec<File>,
    /// How far each holds written data, in bytes.
    ends: Vec<u64>,
}

impl RawFiles {
    /// Opens them, past the page cache if `direct`. What was allocated but never written does not count: such reads
    /// need no disk.
    ///
    /// # Errors
    /// The system's.
    pub fn open(paths: &[PathBuf], direct: bool) -> io::Result<Self> {
        let mut files = Vec::new();
        let mut ends = Vec::new();
        for path in paths {
            let file = open(path, direct, false, false)?;
            let hole = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(0))?;
            if hole >= 4 * BLOCK {
                ends.push(hole);
                files.push(file);
            }
        }
        if files.is_empty() { Err(io::Error::other("there is no data to read")) } else { Ok(Self { files, ends }) }
    }

    /// Random places of `len` bytes, each at a multiple of `align`, evenly over the data.
    fn places(&self, count: usize, len: u64, align: u64, seed: u64) -> Vec<Place> {
        let mut random = Random::new(seed);
        let total: u64 = self.ends.iter().sum();
        let place = |_| {
            let mut at = random.below(total);
            let mut file = 0;
            while at >= self.ends[file] {
                at -= self.ends[file];
                file += 1;
            }
            (file, at.min(self.ends[file] - len) / align * align)
        };
        (0..count).map(place).collect()
    }

    /// `preadv2(RWF_NOWAIT)` of `len` bytes at random records' offsets, on this thread, into one buffer. How many were
    /// answered, and how long it took.
    ///
    /// # Errors
    /// The system's.
    pub fn read_now(&self, count: usize, len: usize, seed: u64) -> io::Result<(u64, Duration)> {
        let places = self.places(count, len as u64, 16, seed);
        let mut buf = vec![0; len];
        let mut answered = 0;
        let began = Instant::now();
        for (file, offset) in places {
            let mut iov = [io::IoSliceMut::new(&mut buf)];
            let flags = rustix::io::ReadWriteFlags::NOWAIT;
            match rustix::io::preadv2(&self.files[file], &mut iov, offset, flags) {
                Ok(n) if n == len => answered += 1,
                Ok(_) | Err(rustix::io::Errno::AGAIN) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok((answered, began.elapsed()))
    }

    /// All data, one read of `len` bytes behind the other, through a bare ring. How many bytes, and how long it took.
    ///
    /// # Errors
    /// The system's.
    pub fn stream(&self, len: u64, depth: usize) -> io::Result<(u64, Duration)> {
        let whole = |end: &u64| end / len;
        let places: Vec<Place> = self
            .ends
            .iter()
            .enumerate()
            .flat_map(|(file, end)| (0..whole(end)).map(move |n| (file, n * len)))
            .collect();
        Ok((places.len() as u64 * len, raw_ring::run(Verb::Read, &self.files, &places, len as usize, depth)?))
    }

    /// Random reads through a bare ring.
    ///
    /// # Errors
    /// The system's.
    pub fn ring_reads(&self, count: usize, len: usize, align: u64, depth: usize, seed: u64) -> io::Result<Duration> {
        let places = self.places(count, len as u64, align, seed);
        raw_ring::run(Verb::Read, &self.files, &places, len, depth)
    }
}

/// A way to write a lot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Past the page cache, this many writes of 1 MiB in flight.
    Direct(usize),
    /// Through the page cache.
    Buffered,
}

/// Writes `bytes` (whole files) into files of `file_len` bytes in `dir`, and flushes them to the device. The files are
/// made and given their space first if they are `fresh`, else they must be there.
///
/// # Errors
/// The system's.
pub fn write_files(dir: &Path, bytes: u64, file_len: u64, way: Way, fresh: bool) -> io::Result<Duration> {
    let began = Instant::now();
    let mut files = Vec::new();
    for n in 0..bytes.div_ceil(file_len) {
        let file = open(&dir.join(format!("raw-{n}")), way != Way::Buffered, true, fresh)?;
        if fresh {
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, file_len)?;
        }
        files.push(file);
    }
    let per_file = file_len / WRITE_BYTES;
    let places: Vec<Place> =
        (0..bytes / WRITE_BYTES).map(|n| ((n / per_file) as usize, n % per_file * WRITE_BYTES)).collect();
    match way {
        Way::Direct(depth) => {
            raw_ring::run(Verb::Write, &files, &places, WRITE_BYTES as usize, depth)?;
        }
        Way::Buffered => {
            let mut buf = vec![0; WRITE_BYTES as usize];
            raw_ring::fill_randomly(&mut buf);
            for (file, offset) in places {
                files[file].write_all_at(&buf, offset)?;
            }
        }
    }
    for file in &files {
        file.sync_data()?;
    }
    Ok(began.elapsed())
}

/// The footer of each sealed segment, as its trailer says (see `esker::format`): the file, the offset and the length.
///
/// # Errors
/// The system's.
pub fn footers(paths: &[PathBuf]) -> io::Result<Vec<(PathBuf, u64, usize)>> {
    use esker::format::footer::{TRAILER_BYTES, decode_trailer};
    use esker::format::segment_header::{SEGMENT_HEADER_BYTES, SegmentHeader};
    let mut found = Vec::new();
    for path in paths {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let (mut head, mut trailer) = ([0; SEGMENT_HEADER_BYTES], [0; TRAILER_BYTES]);
        file.read_exact_at(&mut head, 0)?;
        file.read_exact_at(&mut trailer, len - TRAILER_BYTES as u64)?;
        let Ok(header) = SegmentHeader::decode(&head) else { continue };
        if let Ok(trailer) = decode_trailer(&trailer, header.id, len) {
            found.push((path.clone(), trailer.rows_offset, (len - trailer.rows_offset) as usize));
        }
    }
    Ok(found)
}

/// Opens each file, reads its first block and its footer, on this thread: the bytes that recovery needs. How many.
///
/// # Errors
/// The system's.
pub fn read_footers(footers: &[(PathBuf, u64, usize)]) -> io::Result<(u64, Duration)> {
    let longest = footers.iter().map(|f| f.2).max().unwrap_or(0);
    let mut buf = vec![0; longest.max(BLOCK as usize)];
    let mut bytes = 0;
    let began = Instant::now();
    for (path, offset, len) in footers {
        let mut file = File::open(path)?;
        file.read_exact(&mut buf[..BLOCK as usize])?;
        file.read_exact_at(&mut buf[..*len], *offset)?;
        bytes += BLOCK + *len as u64;
    }
    Ok((bytes, began.elapsed()))
}

fn open(path: &Path, direct: bool, write: bool, create: bool) -> io::Result<File> {
    let flags = if direct { rustix::fs::OFlags::DIRECT } else { rustix::fs::OFlags::empty() };
    let mut options = File::options();
    options.read(true).write(write).create_new(create).custom_flags(flags.bits() as i32).open(path)
}

/// Removes what [`write_files`] made.
///
/// # Errors
/// The system's.
pub fn remove_files(dir: &Path) -> io::Result<()> {
    for path in super::files_below(dir)? {
        std::fs::remove_file(path)?;
    }
    Ok(())
}
