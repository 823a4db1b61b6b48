#!/usr/bin/env bash
# Takes over into fuzz/corpus what campaigns (fuzz.sh) have found: the fewest inputs that reach all that was reached, the
# shortest first, and of each target no more than FUZZ_KEEP_BYTES (24000), so that the corpus stays small.
set -euo pipefail
cd "$(dirname "$0")/../../.."
# shellcheck source=fuzz-build.sh
. tools/proof/scripts/fuzz-build.sh

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for target in ${FUZZ_TARGETS:-record structures footer config trace segment directory}; do
    kept=tools/proof/fuzz/corpus/$target merged=$scratch/$target
    mkdir -p "$kept" "$merged" "$fuzz_dir/corpus/$target"
    FUZZ_TARGET=$target "$fuzz_binary" -merge=1 -max_len=4096 -rss_limit_mb=512 \
        "$merged" "$fuzz_dir/seeds/$target" "$kept" "$fuzz_dir/corpus/$target" 2>/dev/null
    # What a crash left is kept whatever it reaches: it was found once.
    find "$kept" -type f ! -name 'found-*' -delete
    left=${FUZZ_KEEP_BYTES:-24000}
    while read -r size file; do
        left=$((left - size))
        [ "$left" -ge 0 ] || break
        cp "$file" "$kept/$(basename "$file")"
    done < <(find "$merged" -type f -printf '%s %p\n' | sort -n)
    echo "$target: $(find "$kept" -type f | wc -l) inputs, $(du -bc "$kept"/* | tail -n 1 | cut -f 1) bytes"
done
