//! Exactness, written once: short reads and writes, EINTR, and what "nothing more came" means.

use std::io;

use super::{DiskFile, WriteBuf};
use crate::types::BLOCK_BYTES;

/// How many writes in a row may take less than a block before that counts as none.
const MAX_STALLED: u32 = 16;

/// How many signals in a row may come before an operation: whatever sends more, nobody waits for it for ever.
const MAX_INTERRUPTED: u32 = 1000;

/// Reads exactly `len` bytes at `offset`. `UnexpectedEof` if the file ends before.
pub async fn read_exact_at(file: &dyn DiskFile, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let all = read_up_to(file, offset, len).await?;
    if all.len() < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(all) }
}

/// Reads up to `len` bytes at `offset`, fewer only at the end of the file.
pub async fn read_up_to(file: &dyn DiskFile, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut all = read_some(file, offset, len).await?;
    while all.len() < len {
        let more = read_some(file, offset + all.len() as u64, len - all.len()).await?;
        if more.is_empty() {
            break;
        }
        all.extend_from_slice(&more);
    }
    Ok(all)
}

async fn read_some(file: &dyn DiskFile, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut interrupted = 0;
    loop {
        match file.read_at(offset, len).await {
            Err(e) if is_to_be_repeated(&e, &mut interrupted) => {}
            other => return other,
        }
    }
}

/// Writes all of `buf` at `offset`. A write that takes nothing is `WriteZero`.
pub async fn write_all_at(file: &dyn DiskFile, mut offset: u64, mut buf: WriteBuf) -> io::Result<()> {
    let (mut stalled, mut interrupted) = (0, 0);
    while !buf.is_empty() {
        match file.write_at(offset, buf.clone()).await {
            Ok(n) => {
                // A direct write must go on at a whole block; what came behind the last one is written again.
                let is_direct = offset.is_multiple_of(BLOCK_BYTES) && (buf.len() as u64).is_multiple_of(BLOCK_BYTES);
                let whole = if is_direct { n - n % BLOCK_BYTES as usize } else { n };
                stalled = if whole == 0 { stalled + 1 } else { 0 };
                if n == 0 || stalled > MAX_STALLED {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                interrupted = 0;
                offset += whole as u64;
                buf.advance(whole);
            }
            Err(e) if is_to_be_repeated(&e, &mut interrupted) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Whether a signal came first, as may happen a few times in a row.
fn is_to_be_repeated(error: &io::Error, interrupted: &mut u32) -> bool {
    *interrupted += 1;
    error.kind() == io::ErrorKind::Interrupted && *interrupted <= MAX_INTERRUPTED
}

/// Copies `buf.len()` bytes at `offset` if all of them are at hand without waiting.
pub fn read_exact_now(file: &dyn DiskFile, offset: u64, buf: &mut [u8]) -> bool {
    let (mut done, mut interrupted) = (0, 0);
    while done < buf.len() {
        match file.read_now(offset + done as u64, &mut buf[done..]) {
            Ok(n) if n > 0 => done += n,
            Err(e) if is_to_be_repeated(&e, &mut interrupted) => {}
            _ => return false,
        }
    }
    true
}
