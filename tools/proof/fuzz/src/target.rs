//! One binary for all targets. `FUZZ_TARGET` in the environment names the one; `FUZZ_SEEDS` names a folder in which to
//! lay down what each target begins with, instead of fuzzing. `scripts/fuzz.sh` builds and runs it.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use esker_proof::heap;
use esker_proof::rows::fuzz::{self, Target};
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    Target::named(&name).unwrap_or_else(|| panic!("FUZZ_TARGET is `{name}`, which is no target"))
});

fn begin() {
    if let Some(dir) = std::env::var_os("FUZZ_SEEDS") {
        fuzz::write_seeds(Path::new(&dir)).unwrap_or_else(|error| panic!("no seeds: {error:#}"));
        std::process::exit(0);
    }
}

fuzz_target!(init: begin(), |data: &[u8]| { TARGET.take(data) });
