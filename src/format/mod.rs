//! The format on disk. This page is the specification.

mod bytes;
pub mod checksum;
pub mod digest;
pub mod file_name;
pub mod footer;
pub mod length;
pub mod manifest;
pub mod object;
pub mod record;
pub mod segment_header;
