//! The golden directories, to be damaged.

/// What `tests/golden_directory.rs` unpacks, and how.
const PACKED: &[u8] = include_bytes!("../../../../../tests/golden/directory.bin");
/// Likewise: values in chunks.
const PACKED_OBJECTS: &[u8] = include_bytes!("../../../../../tests/golden/objects.bin");

/// A first byte with this bit asks for the one with values in chunks.
const OBJECTS: u8 = 0x40;

/// Length of its segments.
pub const SEGMENT_LEN_BYTES: usize = 64 << 10;

/// Keys in it, served or not.
pub const KEYS: [&str; 12] =
    ["replaced", "empty", "behind", "last", "kept", "lives", "gap", "cleared", "gone", "expired", "marked", "never"];
/// Keys of values in chunks.
pub const OBJECT_KEYS: [&str; 2] = ["object", "half"];

/// The files by name of the one that the input asks for.
pub fn files(input: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let has_objects = input.first().is_some_and(|first| first & OBJECTS != 0);
    let mut packed = super::input::Input(if has_objects { PACKED_OBJECTS } else { PACKED });
    while !packed.is_empty() {
        let name_len = packed.number::<1>() as usize;
        let name = String::from_utf8_lossy(packed.take(name_len)).into_owned();
        let mut file = vec![0; packed.number::<4>() as usize];
        for _ in 0..packed.number::<2>() {
            let (at, len) = (packed.number::<4>() as usize, packed.number::<4>() as usize);
            file[at..at + len].copy_from_slice(packed.take(len));
        }
        files.push((name, file));
    }
    files
}

/// What to begin with: each kind of stroke, on the first places.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![Vec::new()];
    for op in 0..10u8 {
        for fixed in [0, 0x80, OBJECTS, 0x80 | OBJECTS] {
            seeds.push(vec![op | fixed, 1, 4, 8, 1, 2, 3, 4, 5, 6, 7, 8, op | fixed, 9, 0, 4, 255, 255, 255, 255]);
        }
    }
    seeds
}
