#!/usr/bin/env bash
# Runs each fuzz target for some seconds, one after the other:
#
#   fuzz/run.sh              60 seconds each
#   fuzz/run.sh 600          10 minutes each
#   fuzz/run.sh 600 target   this one only
#
# Needs `cargo install cargo-fuzz`. What is found is written to fuzz/artifacts; give it a name that begins with
# `found-`, move it to tests/fuzz/seeds, and it is replayed by `cargo test` for good.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
targets=("${@:2}")
if [ ${#targets[@]} -eq 0 ]; then
  for file in fuzz/targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi

# libFuzzer needs flags that a stable compiler has but does not offer. The source has no unsafe code, so the
# address sanitizer would only slow it down.
export RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/fuzz/target}
for target in "${targets[@]}"; do
  mkdir -p "fuzz/corpus/$target"
  echo "== $target, $seconds s"
  cargo fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "tests/fuzz/seeds/$target" -- \
    -dict="fuzz/dictionaries/$target.dict" -max_total_time="$seconds" -max_len=4096 -timeout=10 \
    -rss_limit_mb=2048 -print_final_stats=1
done
