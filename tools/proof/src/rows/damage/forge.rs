//! The canary: damage whose checksums are put right, as if nobody had salted or kept them apart. What it changed then
//! verifies, and the row must see what is served.

use esker::format::record::{self, Header};

use super::directory::Directory;
use super::layout::{Layout, Place, Used};

/// Puts the checksums of every changed record right.
pub fn fix_crcs(directory: &Directory, changed: &mut [(usize, Vec<u8>)]) {
    for (file, bytes) in changed {
        let Layout::Used(used) = &directory.layouts[*file] else { continue };
        for place in used.places.iter().filter(|place| !place.is_pad()) {
            let range = place.all.start as usize..place.all.end as usize;
            let old = &directory.files[*file].1[range.clone()];
            if bytes.get(range.clone()).is_some_and(|new| new != old) {
                let fixed = fixed(used, place, &bytes[range.clone()]);
                bytes[range].copy_from_slice(&fixed);
            }
        }
    }
}

/// The bytes as they are, with the lengths of the record that stood there and checksums that fit.
fn fixed(used: &Used, place: &Place, bytes: &[u8]) -> Vec<u8> {
    let header: Header = place.header;
    let (key, metadata, value) = record::parts(&header);
    record::encode(&header, &bytes[key], &bytes[metadata], &bytes[value], used.id, place.all.start)
}
