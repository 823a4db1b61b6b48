//! What a walk may cost, whatever stands in the file (trap 9).

use std::path::Path;

use super::*;
use crate::backend::sim::Sim;
use crate::backend::{Backend, OpenMode};
use crate::format::record::Flags;
use crate::types::Sequence;

const SEGMENT: SegmentId = SegmentId(7);
const END: u64 = 1 << 20;

/// A record of a key of so many bytes, as a segment of this id would hold it here.
fn put(segment: SegmentId, offset: u64, key_len: usize, value: &[u8]) -> Vec<u8> {
    let header = Header {
        kind: RecordKind::Put,
        flags: Flags::NONE,
        key_len: 0,
        metadata_len: 0,
        value_len: 0,
        sequence: Sequence(offset),
        created: Millis(1),
        expires: None,
        value_crc: 0,
    };
    record::encode(&header, &vec![b'k'; key_len], &[], value, segment, offset)
}

async fn scanned(bytes: Vec<u8>, end: u64, resync: bool) -> (Scanned, u64) {
    let sim = Sim::new(1);
    sim.write_file("/s", bytes).expect("write");
    let file = sim.open(Path::new("/s"), OpenMode::Read).await.expect("open");
    let found = scan(&*file, Scope { segment: SEGMENT, end, seed: &[0; 16], resync }).await.expect("scan");
    (found, sim.counts().reads)
}

/// From `from` on, every 16 bytes claim to begin a record with the longest key.
fn lies(file: &mut [u8], from: u64) {
    let header = put(SEGMENT, 0, MAX_KEY_BYTES, &[]);
    // Kind, flags and length of the key; the rest of the unit makes a value that is not too long.
    let unit = [&header[..4], &[0; 12]].concat();
    file[from as usize..].chunks_exact_mut(16).for_each(|chunk| chunk.copy_from_slice(&unit));
}

#[tokio::test]
async fn trap_09_lengths_that_lie_cost_a_bounded_number_of_hashed_bytes() {
    let mut file = vec![0; END as usize];
    lies(&mut file, DATA_START);
    let first = put(SEGMENT, DATA_START, 10, b"first");
    file[DATA_START as usize..][..first.len()].copy_from_slice(&first);
    let last_at = END - 4096;
    let last = put(SEGMENT, last_at, 10, b"last");
    file[last_at as usize..][..last.len()].copy_from_slice(&last);
    for resync in [true, false] {
        let (found, _) = scanned(file.clone(), END, resync).await;
        let most = VAIN_WALKS * END + MAX_KEY_BYTES as u64 + HEADER_BYTES as u64;
        assert!(found.bytes_hashed_in_vain > VAIN_WALKS * END, "canary: the file was to cost more");
        assert!(found.bytes_hashed_in_vain <= most, "{} bytes hashed in vain", found.bytes_hashed_in_vain);
        // A record with a short key is found all the same.
        assert_eq!(found.rows.len(), if resync { 2 } else { 1 });
        assert_eq!(found.hidden_at.is_some(), resync);
    }
}

/// What was not looked at may have been a record: in a segment that was sealed, its key is in doubt.
#[tokio::test]
async fn trap_09_what_is_not_looked_at_is_in_doubt() {
    let mut file = vec![0; END as usize];
    let first = put(SEGMENT, DATA_START, 10, b"first");
    file[DATA_START as usize..][..first.len()].copy_from_slice(&first);
    lies(&mut file, DATA_START + first.len() as u64);
    for (resync, is_doubtful) in [(true, true), (false, false)] {
        let (found, _) = scanned(file.clone(), END, resync).await;
        assert_eq!((found.rows.len(), found.hidden_at.is_some()), (1, is_doubtful));
    }
}

#[tokio::test]
async fn trap_09_a_file_cut_short_is_not_read_again_and_again() {
    let mut file = vec![0; DATA_START as usize];
    file.extend(put(SEGMENT, DATA_START, 10, b"only"));
    let (found, reads) = scanned(file, END, true).await;
    assert_eq!(found.rows.len(), 1);
    assert!(reads <= 4, "{reads} reads");
}

/// A hole between records with long keys, as long as the hole is honest: nothing behind it is lost.
#[tokio::test]
async fn long_keys_behind_an_honest_hole_are_found() {
    let mut file = vec![0; DATA_START as usize];
    for n in 0..10 {
        let at = file.len() as u64;
        let segment = if n == 4 { SegmentId(6) } else { SEGMENT };
        file.extend(put(segment, at, MAX_KEY_BYTES, &[n; 1000]));
    }
    let end = file.len() as u64;
    let (found, _) = scanned(file, end, true).await;
    assert_eq!((found.rows.len(), found.damage.len(), found.hidden_at.is_some()), (9, 1, true));
    assert!(found.bytes_hashed_in_vain <= 2 * (MAX_KEY_BYTES + HEADER_BYTES) as u64);
}
