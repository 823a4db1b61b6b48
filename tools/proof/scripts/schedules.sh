#!/usr/bin/env bash
# Row 12: the whole library under shuttle's scheduler, built with `--cfg shuttle` in a target directory of its own.
# The first build takes some minutes; nothing is needed but cargo and what Cargo.lock names.
#
# PROOF_SLICE, PROOF_SEED, PROOF_CASE, PROOF_CANARY, PROOF_THREADS: see tools/proof/src/script.rs
# CARGO_TARGET_DIR  where to build (target); this build goes to `schedules` below it
set -euo pipefail
cd "$(dirname "$0")/../../.."

target=${CARGO_TARGET_DIR:-$PWD/target}/schedules
RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR=$target cargo build --profile schedules --quiet -p esker-schedules >&2

schedules=10000
if [ "${PROOF_SLICE:-ci}" = full ]; then schedules=1000000; fi
arguments=(--schedules "$schedules" --seed "${PROOF_SEED:-0}" --threads "${PROOF_THREADS:-2}")
if [ -n "${PROOF_CASE:-}" ]; then arguments+=(--case "$PROOF_CASE"); fi
if [ "${PROOF_CANARY:-0}" = 1 ]; then arguments+=(--canary); fi
exec "$target/schedules/esker-schedules" "${arguments[@]}"
