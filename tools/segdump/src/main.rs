//! segdump
fn main() {}
