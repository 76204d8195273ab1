#!/usr/bin/env bash
# Installs what is missing, builds the preset `fuzz`, and runs every target: run.sh -runs=N for N executions each,
# run.sh -max_total_time=S for S seconds each (60 where nothing is said); names of targets limit it to these.
. "$(dirname "${BASH_SOURCE[0]}")/../../examples/setup.sh"

targets=() limits=()
for argument in "$@"; do
  case $argument in
    -*) limits+=("$argument") ;;
    *) targets+=("$argument") ;;
  esac
done
[ ${#limits[@]} -gt 0 ] || limits=(-max_total_time=60)
here=$root/tests/fuzz build=$root/build-fuzz

install_packages "${base_packages[@]}" "${test_packages[@]}" "${fuzz_packages[@]}" || die "Without these packages nothing can be fuzzed."
cd "$root"
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz
"$build/bin/fuzz_seeds" "$build/tests/fuzz/seeds"
if [ ${#targets[@]} = 0 ]; then
  for program in "$build"/bin/fuzz_*; do
    [ "$program" = "$build/bin/fuzz_seeds" ] || targets+=("${program##*/fuzz_}")
  done
fi

rm -rf "$build/findings" "$build/logs"
mkdir -p "$build/findings" "$build/logs"
failed=0
printf '%s\n' "${targets[@]}" |
  xargs -P "$(nproc)" -I{} sh -c '"$1" "$2" "$3" $4 >"$2/logs/$3" 2>&1' sh "$here/target.sh" "$build" {} "${limits[*]}" || failed=1

total=0
for target in "${targets[@]}"; do
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/logs/$target")
  total=$((total + ${executions:-0}))
  printf '%-12s %10s executions\n' "$target" "${executions:-?}"
done
findings=$(ls "$build/findings")
say "$total executions in all, $(printf '%s' "$findings" | grep -c .) findings" $findings
[ "$failed" = 0 ] && [ -z "$findings" ] || die "What was found lies in $build/findings; $build/logs says more."
