//! Few packed bytes that ask for much.

/// A zstd frame of `blocks` runs of 128 KiB of one byte, which asks for a window of `window_log` bits.
pub fn bomb(byte: u8, blocks: u32, window_log: u8) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, (window_log - 10) << 3];
    for n in 1..=blocks {
        // Last block or not, run of one byte, 128 KiB long.
        let header = u32::from(n == blocks) | 1 << 1 | (128 << 10) << 3;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(byte);
    }
    frame
}
