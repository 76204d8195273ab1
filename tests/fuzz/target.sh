#!/usr/bin/env bash
# target.sh BUILD TARGET OPTION...: one fuzz target, from its seeds, the cases found before and the corpus of earlier
# runs; what it finds is left in BUILD/findings. OPTIONs are libFuzzer's. A hang is 10 s for one input, and no input
# here may ask for 256 MiB at once.
set -eu
build=$1 target=$2
shift 2
cases=$(dirname "$0")/cases/$target
mkdir -p "$build/corpus/$target" "$build/findings"
[ -w /dev/shm ] && export TMPDIR=/dev/shm  # some targets read what they are given from a file
exec "$build/bin/fuzz_$target" -timeout=10 -malloc_limit_mb=256 -rss_limit_mb=2048 -print_final_stats=1 \
  -artifact_prefix="$build/findings/$target-" "$@" "$build/corpus/$target" "$build/tests/fuzz/seeds/$target" \
  $([ -d "$cases" ] && printf '%s' "$cases")
