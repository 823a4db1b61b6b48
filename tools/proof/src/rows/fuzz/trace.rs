//! Target `trace`: files that should be traces for `esker replay`, packed and plain.

use std::io::Cursor;
use std::path::Path;

use esker::MAX_KEY_BYTES;
use esker_cli::trace::{Key, Request, ctr, text};

use super::bomb::bomb;

/// Requests read of one file: what may be packed in few bytes is endless.
const MOST: usize = 20_000;

/// The target: the first byte says which kind of trace.
pub fn body(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let stream = Cursor::new(bytes.to_vec());
    match kind % 4 {
        0 => {
            let Ok(reader) = ctr::Reader::new(Path::new("hostile.ctr.zst"), stream) else { return };
            read(reader, check_packed);
        }
        1 => {
            let Ok(reader) = text::Reader::new(Path::new("hostile.csv.zst"), stream) else { return };
            read(reader, check_text);
        }
        2 => {
            let Ok(reader) = text::Reader::new(Path::new("hostile.csv"), stream) else { return };
            read(reader, check_text);
        }
        // Plain records, packed here: the fuzzer gets behind the checks of the packing.
        _ => {
            let packed = zstd::encode_all(bytes, 1).expect("memory can be packed");
            let reader = ctr::Reader::new(Path::new("hostile.ctr.zst"), Cursor::new(packed)).expect("it is zstd");
            let records: Vec<_> = bytes.chunks_exact(ctr::RECORD_LEN_BYTES).collect();
            let mut read_so_far = 0;
            read(reader, |request| {
                check_packed(request);
                assert_eq!(ctr::encode(request)[..], records[read_so_far][..], "it encodes to other bytes");
                read_so_far += 1;
            });
        }
    }
}

/// Reads to the first error, which says in readable words where it is, and ends the stream.
fn read(mut requests: impl Iterator<Item = anyhow::Result<Request>>, mut check: impl FnMut(&Request)) {
    for request in requests.by_ref().take(MOST) {
        match request {
            Ok(request) => check(&request),
            Err(error) => {
                let text = format!("{error:#}");
                assert!(text.starts_with("hostile.") || text.contains("the trace hostile."), "{text}");
                assert!(!text.chars().any(char::is_control), "{text:?}");
                break;
            }
        }
    }
}

fn check_packed(request: &Request) {
    assert_eq!(request.key, Key::Number(request.object.to_le_bytes()));
}

fn check_text(request: &Request) {
    let len = request.key.bytes().len();
    assert!((1..=MAX_KEY_BYTES).contains(&len), "a key of {len} bytes");
}

/// What to begin with: a trace of each kind, and bombs.
pub fn seeds() -> Vec<Vec<u8>> {
    let csv = b"time,key,size,ttl,op\n0,a,100,,get\n1,\"b\"\"c\",5,60,set\n2,a,0,0,delete\n3,\xff\x1b,7,,2\n";
    let request = |object: u64, op| {
        let key = Key::Number(object.to_le_bytes());
        ctr::encode(&Request { time_s: 1, object, key, size_bytes: 4096, ttl_s: 60, op })
    };
    use esker_cli::trace::Op;
    let ctr = [request(1, Op::Get), request(u64::MAX, Op::Set), request(1, Op::Delete)].concat();
    let packed = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap_or_default();
    let of = |kind: u8, bytes: &[u8]| [&[kind], bytes].concat();
    vec![
        of(0, &packed(&ctr)),
        of(1, &packed(csv)),
        of(2, csv),
        of(3, &ctr),
        // A row without an end, rows without number, a window larger than most machines' caches.
        of(1, &bomb(b'a', 900, 17)),
        of(0, &bomb(0, 100, 17)),
        of(0, &bomb(0, 3, 27)),
    ]
}
