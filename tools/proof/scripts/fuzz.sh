#!/usr/bin/env bash
# Row 14: libFuzzer on each target. What it finds new is kept beside the build; scripts/fuzz-corpus.sh takes it over.
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

executions=0 crashes=0 ran=0
for target in $targets; do
    new=$fuzz_dir/corpus/$target kept=tools/proof/fuzz/corpus/$target artifacts=$fuzz_dir/artifacts/$target
    mkdir -p "$new" "$artifacts"
    log=$scratch/$target.log
    folders=("$new" "$fuzz_dir/seeds/$target")
    [ ! -d "$kept" ] || folders+=("$kept")
    # Each input may take 64 MiB, which the target counts itself; the limit here is for what it does not count.
    status=0
    FUZZ_TARGET=$target "$fuzz_binary" "${folders[@]}" -max_total_time="$seconds" -max_len=4096 -timeout=60 \
        -rss_limit_mb=512 -seed="$((${PROOF_SEED:-0} + 1))" -print_final_stats=1 -verbosity=1 \
        -artifact_prefix="$artifacts/" >"$log" 2>&1 || status=$?
    stat() { sed -n "s/^stat::$1: *//p" "$log" | tail -n 1; }
    units=$(stat number_of_executed_units)
    echo "count: $target executions ${units:-0}"
    echo "count: $target executions a second $(stat average_exec_per_sec | grep . || echo 0)"
    echo "count: $target resident MiB at most $(stat peak_rss_mb | grep . || echo 0)"
    executions=$((executions + ${units:-0})) ran=$((ran + 1))
    if [ "$status" != 0 ]; then
        crashes=$((crashes + 1))
        tail -n 60 "$log" >&2
        artifact=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        echo "failure: $target: $(grep -m 1 -A 1 'panicked at' "$log" | tail -n 1 || tail -n 1 "$log"); the input is ${artifact:-not kept}"
    fi
done
echo "figure: libFuzzer: $ran targets, $seconds s each, $executions executions; $crashes crashed"
