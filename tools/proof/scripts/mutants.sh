#!/usr/bin/env bash
# Row 17: every mutant that cargo-mutants lists in these places is caught by a test, or explained in `survivors.txt`.
# The mutants are compiled all at once, as switches; see `tools/proof/mutants`.
#
# Needs cargo-mutants, which the full run installs, a few gigabytes, and patience.
set -euo pipefail
cd "$(dirname "$0")/../../.."
project=$PWD
target=${CARGO_TARGET_DIR:-$project/target}
work=$target/mutation
places=('src/format/**' 'src/recover.rs' 'src/recover/**' 'src/index/**' 'src/log/**')
# The last is row 1, for what only lives and deaths show: it takes longest, and so is asked last.
tests=(-p esker -p esker-proof --features esker-proof/slow-tests --lib --test format_golden --test golden_directory
    --test recovery --test traps --test accounting --test counters --test races --test background --test cancel
    --test basics --test settings --test inspect --test bad_luck --test carried_directory --test flushing
    --test operators --test objects --test inspect_objects --test inspect_hostile --test purge --test admission
    --test fetch --test tags --test namespaces --test pins --test capacity --test placement --test janitor
    --test origin --test hot_tier --test layers --test crash_sim)

if [ "${PROOF_SLICE:-full}" = ci ] && [ "${PROOF_CANARY:-0}" != 1 ]; then
    echo "skipped: it takes long: ask for it with --slice full"
    exit 0
fi
if ! cargo mutants --version >/dev/null 2>&1; then
    if [ "${PROOF_SLICE:-full}" = ci ]; then
        echo "skipped: cargo-mutants is not there (cargo install cargo-mutants --locked)"
        exit 0
    fi
    cargo install cargo-mutants --locked --version 27.1.0 >&2
fi
if [ "${PROOF_CANARY:-0}" = 1 ]; then
    places=('src/format/checksum.rs')
    tests=(-p esker --lib)
fi

# Two copies: one stays as it is, the other gets the switches. What is built there is kept for the next run.
for copy in plain switched; do
    mkdir -p "$work/$copy"
    find "$work/$copy" -mindepth 1 -maxdepth 1 ! -name target -exec rm -rf {} +
    tar -c --exclude=./target --exclude=./.git . | tar -x -C "$work/$copy"
done

mapfile -t files < <(printf -- '-f\n%s\n' "${places[@]}")
(cd "$work/plain" && cargo mutants --list --json "${files[@]}") >"$work/list.json"
CARGO_TARGET_DIR=$work/tool cargo build --manifest-path tools/proof/mutants/Cargo.toml >&2
# Apart from what is built of the project: cargo takes a copy at another place for the same.
export CARGO_TARGET_DIR=$work/built
"$work/tool/debug/mutants" "$work/plain" "$work/switched" "$work/list.json" \
    tools/proof/scripts/survivors.txt -- "${tests[@]}"
