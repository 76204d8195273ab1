#!/usr/bin/env bash
# clang-tidy over the files of a build, with the checks of .clang-tidy: lint.sh [BUILD [PATTERN]]. BUILD (build/ where
# nothing is said) needs to be configured, not built; PATTERN, a regular expression, limits it to some of the paths.
. "$(dirname "${BASH_SOURCE[0]}")/../examples/setup.sh"

build=$(realpath "${1:-$build}")
[ -f "$build/compile_commands.json" ] || die "$build has no compile_commands.json; configure it first: cmake --preset native"
install_packages "${lint_packages[@]}" || die "Without these packages nothing can be checked."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
run-clang-tidy-14 -p "$build" -quiet "^$root/(?=ops|backend|loaders|graph|examples|tests|bench).*${2:-}" >"$log" 2>&1 || status=$?
files=$(grep -c '^clang-tidy-14 ' "$log" || true)
sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -E '(warning|error): ' | sort -u | sed "s|^$root/||" || true
[ "$files" -gt 0 ] || die "No file of $build has a path like ${2:-}."
[ "$status" = 0 ] || die "clang-tidy is not content. What would be wrong to change gets a NOLINT with the reason."
say "$files files, nothing found"
