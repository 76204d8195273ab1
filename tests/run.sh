#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test. Arguments go to ctest: tests/run.sh -L cli
# --drivers all, or names as in drivers.sh: afterwards also other OpenCL drivers.
. "$(dirname "${BASH_SOURCE[0]}")/../examples/setup.sh"

drivers=
if [ "${1:-}" = --drivers ]; then
  drivers=${2:?--drivers wants all, or names} && shift 2
fi
prepare "${test_packages[@]}"
build_all -DV4RT_TESTS=ON
{ install_packages "${python_packages[@]}" && "$root/tests/text/reference.sh" "$build/reference"; } ||
  say "Going on without DeepSeek-V4's own tokenizer: the tests that need it are left out."

install_packages "${browser_packages[@]}" || say "Going on without a browser: the page of v4rt compare is not opened."

results=$build/results.xml
rm -f "$results"
status=0
ctest --test-dir "$build" --output-on-failure -j "$(nproc)" --output-junit "$results" "$@" || status=$?
[ -s "$results" ] || die "ctest left no results."

number() { sed -n "s/.*\b$1=\"\([0-9]*\)\".*/\1/p" <<<"$(head -n 12 "$results" | tr '\n' ' ')" | head -n 1; }
tests=$(number tests) failed=$(number failures) left_out=$(($(number skipped) + $(number disabled)))
[ "$left_out" = 0 ] || say "$left_out left out, with the reason above"
say "$((tests - failed - left_out)) passed, $failed failed"
if [ -n "$drivers" ]; then
  [ "$drivers" = all ] && drivers=
  "$root/tests/drivers.sh" "$build" $drivers || status=1
fi
exit "$status"
