//! The format on disk, version 1. This page is the specification; the code in the files beside it follows it, and golden
//! bytes under `tests/golden` pin it.
//!
//! Integers are little-endian and unsigned. Offsets count from the start of the structure, or, where said, of the file.
//! CRC is CRC-32 with the IEEE polynomial (that of zlib). Times are in milliseconds since 1970 (UTC) unless a table says
//! seconds. Bytes named *zero* are written as zero; in headers, manifests, rows and trailers a reader refuses anything
//! else there.
//!
//! # A directory
//!
//! | file | what it is |
//! |---|---|
//! | `MANIFEST` | what the directory is: 256 bytes, replaced as a whole by renaming `MANIFEST.tmp` |
//! | `LOCK` | empty; who holds its lock uses the directory |
//! | `seg-<slot>.esk` | a segment file; the slot is 4 lower-case hexadecimal digits. It is used again and again under this name: the header says which segment it is now, or that it is free |
//!
//! # Manifest (256 bytes)
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `ESKRMAN\0` |
//! | 8 | 4 | format version: 1 |
//! | 12 | 4 | zero |
//! | 16 | 8 | directory id |
//! | 24 | 8 | segment length in bytes: a multiple of 4,096, from 8,192 to 2^30 |
//! | 32 | 16 | seed of the key digests |
//! | 48 | 6 | created |
//! | 54 | 2 | zero |
//! | 56 | 6 | cleared: every record with this sequence or a smaller one is gone; 0: none |
//! | 62 | 2 | zero |
//! | 64 | 8 | shards of the index, 1 to 1,024: which digests share a slot depends on them, so that they never change |
//! | 72 | 6 | stored: every dirty put with this sequence or a smaller one is at the origin (*Write-back*); 0: none |
//! | 78 | 174 | zero |
//! | 252 | 4 | CRC over bytes 0 to 251 |
//!
//! This build makes and opens directories with segments of 64 KiB to 64 MiB: the slots of its index have 22 bits for an
//! offset, in units of 16 bytes. It refuses others by name, and only looks into them (`segdump`).
//!
//! **Version rule.** Magic and version keep their places in every version to come, and are read before anything else.
//! A manifest with a greater version is refused by name and the directory left alone. Only the manifest refuses a
//! directory: a segment header or a record with a version, a kind or a flag that version 1 does not know counts as
//! damaged, and costs that segment or that record. What changes the meaning of a byte needs a new version.
//!
//! # Segment file
//!
//! Every segment file has the length that the manifest says.
//!
//! | where in the file | what |
//! |---|---|
//! | 0 to 63 | segment header |
//! | 64 to 4,031 | zero |
//! | 4,032 to 4,095 | the header's twin: the same 64 bytes once more |
//! | from 4,096 | records, each starting at a multiple of 16 bytes, one directly behind the other |
//! | `rows_offset` | sealed segments only: rows of 24 bytes, in the order of their records; then zero |
//! | the last 64 bytes | sealed segments only: the trailer |
//!
//! ## Segment header (64 bytes)
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `ESKRSEG\0` |
//! | 8 | 4 | format version: 1 |
//! | 12 | 4 | zero |
//! | 16 | 8 | segment id, never used twice in a directory; below 2^62 |
//! | 24 | 8 | segment length in bytes, as in the manifest |
//! | 32 | 6 | created |
//! | 38 | 2 | zero |
//! | 40 | 1 | append stream: 0 new entries, 1 moved ones, 2 short-lived ones, 3 new ones of the main log, 4 moved ones that expire; 255: the file is free, nothing in it counts |
//! | 41 | 3 | zero |
//! | 44 | 8 | directory id, as in the manifest |
//! | 52 | 8 | group: 0 for the streams that everybody shares, and in a free file; else the digest of the namespace whose streams they are (*Namespaces*) |
//! | 60 | 4 | CRC over bytes 0 to 59 |
//!
//! The header makes the segment: it is written once the segment before it in its stream is sealed, while what follows it
//! may be written earlier. So data behind a header of zeros, or behind one that says free, are nothing. The file has its
//! full length, on the device, before that: one that has a header and is shorter was cut.
//!
//! **Twin.** Header and twin are written together, in one block but in different sectors; either of them, or the trailer,
//! says which segment it is. Where they disagree one of them is damaged, of an earlier life of the file, or of another file:
//! then it is the segment whose checksum the record at 4,096 bears, and if it bears none, that with the greatest id. A
//! segment that one of them calls free is free. Directories that were begun before there was a twin have zeros in its place.
//!
//! ## Record
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | kind: 1 put, 2 delete, 3 chunk, 4 head, 5 pad, 6 marker, 7 purge; 0: nothing was written here |
//! | 1 | 1 | flags. Bit 0, of a put or a head: tags. Bit 1, of a put: dirty (*Write-back*). A reader refuses a record with a flag that it does not know, or not of this kind |
//! | 2 | 2 | length of the key, less one: 1 to 65,536 bytes |
//! | 4 | 2 | length of the metadata field |
//! | 6 | 4 | length of the value |
//! | 10 | 6 | sequence: the record's place in the order of all writes of the directory |
//! | 16 | 6 | created |
//! | 22 | 6 | expires: from then on the entry is gone; 0: never |
//! | 28 | 4 | value CRC: over metadata, then value |
//! | 32 | 4 | header CRC: salted, over bytes 0 to 31, then the key |
//! | 36 | | key, metadata, value, zero padding |
//!
//! **Salt.** The header CRC starts over 16 bytes that are not stored: the segment id and the record's offset in the
//! file, eight bytes each. What a file held when it was another segment, or a record that landed in the wrong place,
//! fails this CRC. It covers the value CRC, so a record cannot be completed with another record's value. It is apart
//! from the value CRC so that a record whose value is damaged still proves which key it replaced.
//!
//! **Length.** The padding brings the record to the smallest length that has a *class*. Lengths count units of 16
//! bytes. Classes 0 to 127 are as many units; class `c` from 128 to 1,344 is `(64 + c % 64) << (c / 64 - 1)` units. A
//! record of 128 units or more is thereby padded by less than 1/64. The longest record has 2^30 bytes. A reader
//! need not check the padding.
//!
//! **Tags.** Bit 0 of the flags: the metadata field begins with a byte that says how many tags there are, 1 to 32, and
//! the tags, 8 bytes each; the user's metadata follow. A tag is the first eight bytes of SHA-256 over the manifest's seed, a
//! byte 3 and the tag's text. Two texts that agree in them are purged together. A record with the flag whose field is too
//! short, or says another number, is damaged.
//!
//! **Write-back.** Bit 1 of the flags: when the record was written, the origin of the cache did not have the value. It is dirty,
//! which is to be brought to the origin and not to be dropped before, if the index points at it and its sequence is greater
//! than what the manifest says is stored. A build that does not know the flag refuses the record as damaged.
//!
//! **Delete and marker.** Both say that everything older of the key is dead. The value is 8 bytes: the newest segment id
//! when it was first written. What it covers stands in no younger segment, so eviction carries it on, value and
//! sequence unchanged, only while a segment with that id or a smaller one remains. A delete has the user's key. A marker
//! is left where the key is not at hand: its key is the 8 bytes of the digest.
//!
//! **Purge.** Every entry that its key selects is dead, if it has a smaller sequence. The first byte of the key says how the
//! rest selects: 1, a prefix of keys, which is not empty; 2, a time in 8 bytes, before which an entry was created; 3, a tag of
//! the entry in 8 bytes. The value is that of a delete, and eviction carries it on as it does a delete.
//!
//! **Pad.** Filler up to the end of a block of 4,096 bytes. The key field, the metadata length, created, expires and the
//! value CRC are 0, and there is no key: the header CRC covers bytes 0 to 31 alone. The value is what stands behind
//! the header, is covered by no CRC and means nothing. A pad has no class: it takes exactly 36 bytes and its value, a
//! multiple of 16 from 48 up. Its sequence is none: it says up to which offset the segment was on the device when the
//! pad was made, so that a reader can tell damage before that offset from the torn end of unsynced writes behind it. Where only 16 or 32 bytes are left to the end of a block, they are zero instead; a
//! scanner that finds exactly that goes on at the next block.
//!
//! ### Large values
//!
//! A chunk record has a key of 16 bytes and no metadata:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | object id: a sequence that no other object has, and no record; smaller than those of its chunks |
//! | 8 | 8 | index of the chunk, from 0, below 2^32 - 1 |
//!
//! The head record has the user's key and metadata, and is written when every chunk is. Its value has 28 bytes:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | object id |
//! | 8 | 8 | length of the whole value, at least 1 |
//! | 16 | 4 | length of every chunk but the last, at least 1 |
//! | 20 | 4 | number of chunks: the whole length divided by that of a chunk, rounded up |
//! | 24 | 4 | state flags: zero |
//!
//! A user's key may be the same 16 bytes as a chunk's: whoever compares keys compares kinds too. A chunk counts if a head that is
//! served names its object and has all its chunks; what a `clear` covers is decided by the head alone. A head may be written
//! again with other metadata, for the same object.
//!
//! ### Namespaces
//!
//! A key in a namespace is a key like any other, that begins with a prefix which no other key may begin with:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic: `ff`, `eskrns`, `fe` |
//! | 8 | 1 | length of the name: 1 to 64 |
//! | 9 | | the name in UTF-8, then the user's key, which is not empty |
//!
//! All of it together has at most 65,536 bytes. A namespace is purged by a purge of its prefix.
//!
//! A namespace may have append streams of its own. Bytes 52 to 59 of their segments' headers are the digest of its name (as of
//! a key; 1 if that is 0). So one *log* is the segments of one stream number and one group. It only says whose room a
//! segment takes and which log it belongs to: any segment may hold any key. A build from before there were groups refuses a
//! header with one as damaged: it knows such a segment by its trailer, and one that was not sealed costs it everything older.
//!
//! ## Row (24 bytes)
//!
//! Every record but the pads has a row.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | digest of the key |
//! | 8 | 6 | sequence |
//! | 14 | 4 | offset of the record in the file, in units of 16 bytes |
//! | 18 | 2 | bits 0 to 10: class of the record's length; bits 11 to 13: kind (1 to 4, 6 or 7); bit 14, of a put: dirty; bit 15: zero |
//! | 20 | 4 | expires, in *seconds*, rounded up; 0: never; 2^32 - 1: not before then |
//!
//! The digest is the first eight bytes of SHA-256 over the manifest's seed and the key. It finds a record; the key in
//! the record decides.
//!
//! ## Trailer (64 bytes)
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `ESKRFTR\0` |
//! | 8 | 8 | segment id, below 2^62 |
//! | 16 | 4 | number of rows |
//! | 20 | 4 | CRC over the rows |
//! | 24 | 8 | `rows_offset` in the file: the segment length less the rows and the trailer, rounded up to whole blocks |
//! | 32 | 8 | end of the last record in the file: a multiple of 16 |
//! | 40 | 6 | smallest sequence of the rows; 0 without rows |
//! | 46 | 6 | largest sequence of the rows; 0 without rows |
//! | 52 | 6 | when the footer was made: no record is newer, and the clock does not step back behind it |
//! | 58 | 2 | zero |
//! | 60 | 4 | CRC over bytes 0 to 59 |
//!
//! When a file is freed, its last 4,096 bytes become zero before its header says so. So a trailer is that of the segment
//! which stands in the file now, and stands in for a header and a twin that are damaged.
//!
//! # Reading
//!
//! What comes from disk is checked in this order: magic or kind, bounds, CRC, meaning. No length is believed before it is
//! compared with a limit or with the bytes that are there. No input makes these functions panic.
//!
//! # Writing
//!
//! A number that does not fit its field (a time after the year 10889, say) is written as the largest that does, never
//! cut to a smaller one.
//!
//! # Example
//!
//! The first record of segment 7: a put of key `key`, metadata `m`, value `value`, sequence 42 (`2a`), created at
//! 1,700,000,000,000 (`018bcfe56800`), expiring a minute later (`018bcfe65260`). 36 + 3 + 1 + 5 = 45 bytes, so 48.
//! The CRC over `mvalue` is `defd120e`; the one over segment id, offset 4,096, the 32 bytes and `key` is `2503e3f2`.
//!
//! ```text
//! 001000  01 00 02 00 01 00 05 00 00 00 2a 00 00 00 00 00
//! 001010  00 68 e5 cf 8b 01 60 52 e6 cf 8b 01 0e 12 fd de
//! 001020  f2 e3 03 25 6b 65 79 6d 76 61 6c 75 65 00 00 00
//! ```

pub(crate) mod bytes;
pub mod checksum;
pub mod digest;
pub mod file_name;
pub mod footer;
pub mod ghosts;
pub mod length;
pub mod manifest;
pub mod namespace;
pub mod object;
pub mod purge;
pub mod record;
pub mod segment_header;
pub mod tags;
#[cfg(test)]
mod tests;
