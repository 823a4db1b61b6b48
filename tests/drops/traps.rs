//! Memory that must stay as it is. Laid when a call was dropped, it is likely to be what the call would have given back
//! too early, and what lands late then lands in it.

use std::collections::VecDeque;

const PATTERN: u8 = 0xa5;
/// Buffers laid at a time.
const AT_ONCE: usize = 4;
/// Buffers that lie at a time.
const MOST: usize = 64;

/// The buffers.
#[derive(Debug, Default)]
pub struct Traps(VecDeque<Vec<u8>>);

impl Traps {
    /// Lays buffers of this length; the oldest ones are looked at and taken away.
    ///
    /// # Panics
    /// If something was written into one.
    pub fn lay(&mut self, len: usize) {
        self.0.extend((0..AT_ONCE).map(|_| vec![PATTERN; len]));
        while self.0.len() > MOST {
            let oldest = self.0.pop_front();
            assert!(oldest.is_none_or(|buf| is_untouched(&buf)), "something was written into memory of others");
        }
    }

    /// Makes memory that was given back a trap of this length.
    #[cfg(has_uring)]
    pub fn take(&mut self, mut freed: Vec<u8>, len: usize) {
        freed.clear();
        freed.resize(len, PATTERN);
        self.0.push_back(freed);
    }

    /// Whether nothing was written into them.
    pub fn are_untouched(&self) -> bool {
        self.0.iter().all(|buf| is_untouched(buf))
    }
}

fn is_untouched(buf: &[u8]) -> bool {
    buf.iter().all(|&byte| byte == PATTERN)
}
