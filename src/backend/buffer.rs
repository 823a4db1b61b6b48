//! Page-aligned buffers for writing: pooled by size class, with a hard limit on what the pool keeps.
//!
//! The memory is an anonymous map (`memmap2`), so it is aligned for direct I/O without any `unsafe` of ours. How many
//! buffers are *out* at a time is bounded by the log's byte budget; how many rest here is bounded by `keep_bytes`.
//!
//! They are not registered with the ring: measured before the first line was written, registered buffers brought
//! nothing that could be told from noise (4 KiB random reads, 1 to 128 in flight, Linux 6.18).

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fmt, io};

use memmap2::MmapMut;

use crate::sync::Mutex;

/// The size classes, in bytes.
const CLASSES: [usize; 6] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20];

/// A pool of page-aligned buffers.
#[derive(Clone)]
pub struct BufferPool(Arc<Pool>);

struct Pool {
    idle: Mutex<Idle>,
    keep_bytes: usize,
    made: AtomicU64,
    reused: AtomicU64,
}

#[derive(Default)]
struct Idle {
    classes: [Vec<MmapMut>; CLASSES.len()],
    bytes: usize,
}

impl BufferPool {
    /// A pool that keeps at most `keep_bytes` of idle buffers.
    pub fn new(keep_bytes: usize) -> Self {
        Self(Arc::new(Pool { idle: Mutex::default(), keep_bytes, made: AtomicU64::new(0), reused: AtomicU64::new(0) }))
    }

    /// A buffer of at least `len` bytes, its content unspecified. Its length is that of its size class (or `len`
    /// rounded up to pages above the largest).
    ///
    /// # Errors
    /// `OutOfMemory` if the kernel gives no memory.
    pub fn take(&self, len: usize) -> io::Result<PoolBuf> {
        let class = CLASSES.iter().position(|&c| c >= len);
        if let Some(class) = class {
            let mut idle = self.0.idle.lock();
            if let Some(map) = idle.classes[class].pop() {
                idle.bytes -= CLASSES[class];
                self.0.reused.fetch_add(1, Ordering::Relaxed);
                return Ok(PoolBuf { map: Some(map), pool: self.0.clone() });
            }
        }
        let size = class.map_or_else(|| len.next_multiple_of(4096), |c| CLASSES[c]);
        self.0.made.fetch_add(1, Ordering::Relaxed);
        Ok(PoolBuf { map: Some(MmapMut::map_anon(size)?), pool: self.0.clone() })
    }

    /// Buffers made, and buffers given out again.
    pub fn made_and_reused(&self) -> (u64, u64) {
        (self.0.made.load(Ordering::Relaxed), self.0.reused.load(Ordering::Relaxed))
    }

    /// Bytes that rest in the pool.
    pub fn idle_bytes(&self) -> usize {
        self.0.idle.lock().bytes
    }
}

/// A buffer that returns to its pool when dropped.
pub struct PoolBuf {
    map: Option<MmapMut>,
    pool: Arc<Pool>,
}

impl Deref for PoolBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

impl DerefMut for PoolBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.map.as_deref_mut().unwrap_or_default()
    }
}

impl Drop for PoolBuf {
    fn drop(&mut self) {
        let Some(map) = self.map.take() else { return };
        let Some(class) = CLASSES.iter().position(|&c| c == map.len()) else { return };
        let mut idle = self.pool.idle.lock();
        if idle.bytes + map.len() <= self.pool.keep_bytes {
            idle.bytes += map.len();
            idle.classes[class].push(map);
        }
    }
}

impl fmt::Debug for PoolBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PoolBuf({} bytes)", self.len())
    }
}

/// A shared, immutable window into a pooled buffer: what a write in flight owns, and what readers of bytes that are
/// not on disk yet look into.
#[derive(Debug, Clone)]
pub struct WriteBuf {
    buf: Arc<PoolBuf>,
    start: usize,
    end: usize,
}

impl WriteBuf {
    /// The first `len` bytes of `buf`.
    ///
    /// # Panics
    /// If `len` is more than the buffer holds.
    pub fn new(buf: Arc<PoolBuf>, len: usize) -> Self {
        assert!(len <= buf.len(), "a window larger than its buffer");
        Self { buf, start: 0, end: len }
    }

    /// Drops the first `n` bytes from the window (all of it if there are fewer).
    pub fn advance(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }
}

impl Deref for WriteBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.buf[self.start..self.end]
    }
}

#[cfg(has_tokio_uring)]
mod ring_buffer {
    #![expect(unsafe_code, reason = "the trait by which `tokio-uring` takes buffers is unsafe to implement")]

    use super::WriteBuf;

    // SAFETY: the bytes are in a memory map that an `Arc` holds, so they stay where they are, mapped, initialised and
    // of this length, however the value is moved; and nobody can write to them while an `Arc` besides his exists.
    unsafe impl tokio_uring::buf::IoBuf for WriteBuf {
        fn stable_ptr(&self) -> *const u8 {
            self.as_ptr()
        }

        fn bytes_init(&self) -> usize {
            self.len()
        }

        fn bytes_total(&self) -> usize {
            self.len()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_as_long_as_their_class() -> io::Result<()> {
        let pool = BufferPool::new(0);
        for (asked, given) in [(1, 4 << 10), (4 << 10, 4 << 10), (4097, 16 << 10), (4 << 20, 4 << 20)] {
            let buf = pool.take(asked)?;
            assert_eq!((buf.len(), buf.as_ptr().align_offset(4096)), (given, 0), "{asked}");
        }
        assert_eq!(pool.take((4 << 20) + 1)?.len(), (4 << 20) + 4096, "above the largest class: whole pages");
        Ok(())
    }

    #[test]
    fn a_buffer_that_came_back_is_given_out_again() -> io::Result<()> {
        let pool = BufferPool::new(1 << 20);
        let place = pool.take(4096)?.as_ptr();
        assert_eq!((pool.made_and_reused(), pool.idle_bytes()), ((1, 0), 4096));
        let again = pool.take(1)?;
        assert_eq!((again.as_ptr(), pool.made_and_reused(), pool.idle_bytes()), (place, (1, 1), 0));
        let other = pool.take(4096)?;
        assert_ne!(other.as_ptr(), again.as_ptr(), "what is out is nobody else's");
        Ok(())
    }

    #[test]
    fn no_more_rests_than_the_limit() -> io::Result<()> {
        let pool = BufferPool::new(10 << 10);
        let out: Vec<_> = (0..5).map(|_| pool.take(4096)).collect::<io::Result<_>>()?;
        drop(out);
        assert_eq!(pool.idle_bytes(), 8 << 10, "a third one would pass 10 KiB");
        drop(pool.take(5 << 20)?);
        assert_eq!(pool.idle_bytes(), 8 << 10, "what has no class is given back to the system");
        Ok(())
    }

    #[test]
    fn a_window_keeps_its_buffer_out() -> io::Result<()> {
        let pool = BufferPool::new(1 << 20);
        let mut window = WriteBuf::new(Arc::new(pool.take(4096)?), 100);
        window.advance(60);
        assert_eq!((window.len(), pool.idle_bytes()), (40, 0));
        window.advance(60);
        assert!(window.is_empty());
        drop(window);
        assert_eq!(pool.idle_bytes(), 4096);
        Ok(())
    }
}
