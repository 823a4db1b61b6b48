# Builds the fuzz binary and lays down what the targets begin with. Sets fuzz_dir and fuzz_binary. Run from the top.

fuzz_dir=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
triple=$(rustc -vV | sed -n 's/^host: //p')
# As cargo-fuzz has it, without a sanitizer: the code is safe, and row 13 has the suite under one. The stable toolchain
# knows the flags, but wants to be told that we mean it.
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing
    -Cdebug-assertions -Coverflow-checks -Ccodegen-units=8"
RUSTC_BOOTSTRAP=1 RUSTFLAGS=$(echo $flags) CARGO_TARGET_DIR=$fuzz_dir cargo build --release --quiet --target "$triple" \
    --manifest-path tools/proof/fuzz/Cargo.toml >&2
fuzz_binary=$fuzz_dir/$triple/release/target
FUZZ_SEEDS=$fuzz_dir/seeds "$fuzz_binary" >&2
