#!/usr/bin/env bash
# Row 13: every future dropped at every point at which it waits, on every backend; `unsafe` only where it is named; in
# the full run the library's tests under AddressSanitizer and LeakSanitizer too.
#
# Not under the sanitizers:
#   index_memory   counts what tables of up to 50 million entries take; its only unsafe code is the counting itself
#   architecture   reads source text, and runs here as it is
#   no_ring        runs only where a seccomp profile refuses the ring
set -euo pipefail
cd "$(dirname "$0")/../../.."

case_=${PROOF_CASE:-}
features=(-p esker --features tokio-uring)
plain=(cargo test "${features[@]}")
triple=$(rustc -vV | sed -n 's/^host: //p')
base=${CARGO_TARGET_DIR:-$PWD/target}
log=${PROOF_DIR:-$(mktemp -d)}/memory.log

# A test that a lost ring leaks, rather than frees, what the kernel may still write to.
suppressions=$(mktemp)
echo 'leak:a_lost_ring_answers_and_leaks_what_the_kernel_may_still_write_to' >"$suppressions"
trap 'rm -f "$suppressions"' EXIT

# Memory that is not to be had is an error to the library, and so it is to the sanitizer.
sanitized() {
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" CARGO_TARGET_DIR=$base/sanitized \
        ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:allocator_may_return_null=1 \
        LSAN_OPTIONS=report_objects=1:print_suppressions=0:suppressions=$suppressions \
        cargo test --target "$triple" "${features[@]}" "$@"
}

# Says of each test in the log that failed, that it did; of a run that failed without one, that it did.
failures() {
    local failed
    failed=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/failure: \1: it failed'"$1"'/p' "$log")
    [ -n "$failed" ] || failed="failure: build: it ended before its tests did: $(grep -m 1 '^error' "$log")"
    echo "$failed"
}
passed() { sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' "$log" | awk '{ sum += $1 } END { print sum + 0 }'; }

if [ "${PROOF_CANARY:-0}" = 1 ]; then
    "${plain[@]}" --test drops -- --ignored --exact planted_buffer_given_back_too_early --nocapture >"$log" 2>&1 || true
    if grep -q 'written into memory of others' "$log"; then
        echo "failure: planted_buffer_given_back_too_early: the kernel wrote into memory of others"
    fi
    if [ "${PROOF_SLICE:-ci}" = full ]; then
        sanitized --test drops -- --ignored --exact planted_use_after_free --nocapture >"$log" 2>&1 || true
        if grep -q 'AddressSanitizer: heap-use-after-free' "$log"; then
            echo "failure: planted_use_after_free: $(grep -m 1 -o 'AddressSanitizer: heap-use-after-free' "$log")"
        fi
    fi
    echo "figure: the planted faults, each caught if it is listed as a failure"
    exit 0
fi

"${plain[@]}" --test architecture -- unsafe >"$log" 2>&1 || failures ", unsafe code where none is named"
"${plain[@]}" --test drops -- --nocapture ${case_:+"$case_"} >"$log" 2>&1 || failures ""
points=$(sed -n 's/.*dropped at \([0-9]*\) points.*/\1/p' "$log" | awk '{ sum += $1 } END { print sum + 0 }')
skipped=$(grep -c '^not run: ' "$log" || true)
figure="calls dropped at $points points, $(passed) runs"
[ "$skipped" = 0 ] || figure="$figure, $skipped without their backend"
echo "count: points $points"

if [ "${PROOF_SLICE:-ci}" = full ]; then
    tests=()
    for test in tests/*.rs tests/*/main.rs; do
        name=$(basename "${test%/main.rs}" .rs)
        case $name in index_memory | architecture | no_ring) ;; *) tests+=(--test "$name") ;; esac
    done
    status=0
    sanitized --no-fail-fast --lib "${tests[@]}" -- ${case_:+"$case_"} >"$log" 2>&1 || status=$?
    reports=$(grep -c 'ERROR: \(Address\|Leak\)Sanitizer' "$log" || true)
    [ "$status" = 0 ] || failures " under AddressSanitizer"
    if [ "$reports" != 0 ]; then
        grep -A 25 'ERROR: \(Address\|Leak\)Sanitizer' "$log" >&2
        echo "failure: sanitizer: $(grep -m 1 -o 'ERROR: .*Sanitizer: .*' "$log")"
    elif [ "$status" != 0 ]; then
        tail -n 40 "$log" >&2
        echo "failure: sanitizer: the suite ended with $status"
    fi
    echo "count: tests under AddressSanitizer $(passed)"
    figure="$figure; $(passed) tests under AddressSanitizer and LeakSanitizer, $reports reports"
fi
[ "$points" -gt 0 ] || echo "failure: drops: nothing was dropped"
echo "figure: $figure"
