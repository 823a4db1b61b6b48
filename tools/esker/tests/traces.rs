//! Reading traces: binary, CSV and built in.

#[path = "common/bomb.rs"]
mod bomb;

use std::io::Write;
use std::path::{Path, PathBuf};

use bomb::bomb;
use esker_cli::trace::{Key, Op, Request, Trace, ctr, synthetic};

fn request(time_s: u32, object: u64, size_bytes: u32, ttl_s: u32, op: Op) -> Request {
    Request { time_s, object, key: Key::Number(object.to_le_bytes()), size_bytes, ttl_s, op }
}

fn file(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
    path
}

fn read(path: PathBuf) -> Result<Vec<Request>, String> {
    let requests = Trace::File(path).requests(None).map_err(|error| format!("{error:#}"))?;
    requests.collect::<Result<_, _>>().map_err(|error| format!("{error:#}"))
}

#[test]
fn a_binary_trace_is_read_as_written() {
    let dir = tempfile::tempdir().unwrap();
    let all = vec![
        request(0, 0, 1, 0, Op::Get),
        request(7, u64::MAX - 1, u32::MAX, 60, Op::Set),
        request(u32::MAX, 1 << 33, 0, 0, Op::Delete),
    ];
    let bytes: Vec<u8> = all.iter().flat_map(ctr::encode).collect();
    let path = file(dir.path(), "small.ctr.zst", &zstd::encode_all(bytes.as_slice(), 3).unwrap());
    assert_eq!(read(path.clone()).unwrap(), all);
    let summary = Trace::File(path.clone()).summary(Some(2)).unwrap();
    assert_eq!((summary.requests, summary.objects, summary.unique_bytes), (2, 2, 1 + u64::from(u32::MAX)));
    assert_eq!(Trace::File(path).name(), "small");

    let cut = file(dir.path(), "cut.ctr.zst", &zstd::encode_all(&bytes[..bytes.len() - 1], 3).unwrap());
    let error = read(cut).unwrap_err();
    assert!(error.contains("cut.ctr.zst: record 3") && error.contains("20 of 21"), "{error}");
    let mut odd = bytes;
    odd[41] = 9;
    let odd = file(dir.path(), "odd.ctr.zst", &zstd::encode_all(odd.as_slice(), 3).unwrap());
    let error = read(odd).unwrap_err();
    assert!(error.contains("record 2") && error.contains("op 9"), "{error}");
}

#[test]
fn csv_is_read_with_and_without_a_header() {
    let dir = tempfile::tempdir().unwrap();
    let rows = "0,/a,10,,get\n1,\"b,\"\"c\",20,60,set\n2,/a,10,0,2\n3,/a,11,0,\n";
    let plain = read(file(dir.path(), "plain.csv", rows.as_bytes())).unwrap();
    let headed = format!("time,key,size,ttl,op\n{rows}");
    let packed = zstd::encode_all(headed.as_bytes(), 3).unwrap();
    assert_eq!(read(file(dir.path(), "headed.csv.zst", &packed)).unwrap(), plain);
    assert_eq!(plain.iter().map(|r| r.object).collect::<Vec<_>>(), [0, 1, 0, 0]);
    assert_eq!(plain.iter().map(|r| r.op).collect::<Vec<_>>(), [Op::Get, Op::Set, Op::Delete, Op::Get]);
    assert_eq!(plain[1].key.bytes(), b"b,\"c");
    assert_eq!((plain[1].time_s, plain[1].size_bytes, plain[1].ttl_s), (1, 20, 60));
}

#[test]
fn a_bad_row_is_named_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        ("1,k,x,0,get", "size is `x`"),
        ("1,k,-5,0,get", "size is `-5`"),
        ("1,k,5,0,purge", "op is `purge`"),
        ("1,k,5,0", "4 columns"),
        ("1,,5,0,get", "0 bytes"),
        ("soon,k,5,0,get", "time is `soon`"),
        ("1,k,5,4294967296,get", "ttl is"),
    ];
    for (row, what) in cases {
        let text = format!("time,key,size,ttl,op\n0,k,5,0,get\n{row}\n");
        let error = read(file(dir.path(), "bad.csv", text.as_bytes())).unwrap_err();
        assert!(error.contains("bad.csv: line 3") && error.contains(what), "{row}: {error}");
    }
    let error = read(dir.path().join("absent.csv")).unwrap_err();
    assert!(error.contains("absent.csv"), "{error}");
    let error = read(dir.path().join("trace.txt")).unwrap_err();
    assert!(error.contains(".ctr.zst, .csv"), "{error}");
}

#[test]
fn the_built_in_workload_follows_from_its_seed() {
    let take = |seed| synthetic::Synthetic::new(seed).take(20_000).collect::<Vec<_>>();
    let first = take(1);
    assert_eq!(first, take(1));
    assert_ne!(first, take(2));
    let count = |op| first.iter().filter(|request| request.op == op).count();
    assert!(count(Op::Set) > 300 && count(Op::Delete) > 100 && first.iter().any(|request| request.ttl_s > 0));
    let hottest = first.iter().filter(|request| request.object == 0).count();
    assert!(hottest > 200, "Zipf's first rank came {hottest} times");
    assert!(first.windows(2).all(|pair| pair[0].time_s <= pair[1].time_s));
    let whole = Trace::Synthetic { seed: 1 }.summary(None).unwrap();
    assert_eq!(whole.requests, synthetic::REQUESTS);
    assert!(whole.largest_bytes > 1 << 20 && whole.unique_bytes > 500_000_000, "{whole:?}");
}

/// X2. A window that zstd may ask for, and a row without an end, take memory by the packed file's word alone.
#[test]
fn few_packed_bytes_fill_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let error = read(file(dir.path(), "endless.csv.zst", &bomb(b'a', 900, 17))).unwrap_err();
    assert!(error.contains("a row has more than"), "{error}");
    let error = read(file(dir.path(), "wide.ctr.zst", &bomb(0, 3, 27))).unwrap_err();
    assert!(error.contains("wide.ctr.zst: record 1: Frame requires too much memory"), "{error}");
    // What zstd packs without being told otherwise is read.
    assert_eq!(read(file(dir.path(), "narrow.ctr.zst", &bomb(0, 21, 23))).unwrap().len(), 128 << 10);
}

#[test]
fn the_longest_key_is_read_however_it_is_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let longest = "\"".repeat(64 << 10);
    let row = format!("0,\"{}\",1,0,get\n", longest.replace('"', "\"\""));
    let all = read(file(dir.path(), "long.csv", row.repeat(3).as_bytes())).unwrap();
    assert_eq!((all.len(), all[0].key.bytes()), (3, longest.as_bytes()));
}
