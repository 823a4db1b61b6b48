#!/usr/bin/env bash
# Row 14: libFuzzer on each target, as many at once as there are threads. What it finds new is kept beside the build;
# scripts/fuzz-corpus.sh takes it over.
#
# FUZZ_SECONDS   how long each target runs (600)
# FUZZ_TARGETS   which (all)
set -euo pipefail
cd "$(dirname "$0")/../../.."

if [ "${PROOF_CANARY:-0}" = 1 ]; then
    targets=canary
else
    targets=${FUZZ_TARGETS:-record structures footer config trace segment directory}
fi
seconds=${FUZZ_SECONDS:-600}
scratch=${PROOF_DIR:-$(mktemp -d)}

for tool in cargo c++; do
    command -v "$tool" >/dev/null || { echo "skipped: $tool is missing (apt-get install g++; rustup)"; exit 0; }
done

# shellcheck source=fuzz-build.sh
. tools/proof/scripts/fuzz-build.sh

# fuzz TARGET: runs it, and says what came of it
fuzz() {
    local target=$1 new=$fuzz_dir/corpus/$1 kept=tools/proof/fuzz/corpus/$1 artifacts=$fuzz_dir/artifacts/$1
    local log=$scratch/$1.log status=0
    mkdir -p "$new" "$artifacts"
    local folders=("$new" "$fuzz_dir/seeds/$target")
    [ ! -d "$kept" ] || folders+=("$kept")
    # Each input may take 64 MiB, which the target counts itself; the limit here is for what it does not count.
    FUZZ_TARGET=$target "$fuzz_binary" "${folders[@]}" -max_total_time="$seconds" -max_len=4096 -timeout=60 \
        -rss_limit_mb=512 -seed="$((${PROOF_SEED:-0} + 1))" -print_final_stats=1 -verbosity=1 \
        -artifact_prefix="$artifacts/" >"$log" 2>&1 || status=$?
    stat() { sed -n "s/^stat::$1: *//p" "$log" | tail -n 1 | grep . || echo 0; }
    echo "count: $target executions $(stat number_of_executed_units)"
    echo "count: $target executions a second $(stat average_exec_per_sec)"
    echo "count: $target resident MiB at most $(stat peak_rss_mb)"
    [ "$status" = 0 ] && return
    tail -n 60 "$log" >&2
    local artifact what
    artifact=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    what=$(grep -m 1 -A 1 'panicked at' "$log" | tail -n 1 || tail -n 1 "$log")
    echo "failure: $target: $what; the input is ${artifact:-not kept}"
}

for target in $targets; do
    while [ "$(jobs -rp | wc -l)" -ge "${PROOF_THREADS:-1}" ]; do wait -n; done
    fuzz "$target" >"$scratch/$target.said" &
done
wait

cat "$scratch"/*.said
ran=$(wc -w <<<"$targets")
executions=$(sed -n 's/^count: [a-z]* executions \([0-9]*\)$/\1/p' "$scratch"/*.said | awk '{ sum += $1 } END { print sum + 0 }')
crashes=$(grep -c '^failure: ' <(cat "$scratch"/*.said) || true)
echo "figure: libFuzzer: $ran targets, $seconds s each, $executions executions; $crashes crashed"
