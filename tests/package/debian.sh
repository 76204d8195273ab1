#!/usr/bin/env bash
# Makes the Debian packages of a build and looks into them, unpacked into a folder. Arguments: the build folder.
set -euo pipefail
build=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v dpkg-shlibdeps >/dev/null || { echo "dpkg-shlibdeps is not here (dpkg-dev)"; exit 77; }
failures=0
wrong() { echo "$*" && failures=$((failures + 1)); }

cpack --config "$build/CPackConfig.cmake" -B "$work/packages" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
field() { dpkg-deb -f "$work"/packages/"$1"_*.deb "$2"; }
for package in libv4rt0 libv4rt-dev v4rt; do
  mkdir "$work/$package"
  dpkg-deb -x "$work"/packages/${package}_*.deb "$work/$package" || wrong "no package $package"
done
grep -q 'libc6' <<<"$(field libv4rt0 Depends)" || wrong "libv4rt0 depends on: $(field libv4rt0 Depends)"
grep -q 'libv4rt0 (= ' <<<"$(field libv4rt-dev Depends)" || wrong "libv4rt-dev depends on: $(field libv4rt-dev Depends)"

there() { [ -n "$(find "$work/$1" -path "*$2" -print -quit)" ] || wrong "$1 has no $2"; }
there libv4rt0 /libv4rt.so.0
[ -z "$(find "$work/libv4rt0" -name '*.h' -o -name libv4rt.so)" ] || wrong "libv4rt0 has what belongs to libv4rt-dev"
for file in /usr/include/v4rt.h /usr/include/v4rt.hpp /usr/include/v4rt_engine.hpp /libv4rt.so /libv4rt.a /v4rtConfig.cmake /pkgconfig/v4rt.pc; do there libv4rt-dev "$file"; done
there v4rt /usr/share/v4rt/models/v4-mini/config.json
text=$("$work/v4rt/usr/bin/v4rt" run mini -p 'def f' -n 3 2>/dev/null) || wrong "the program does not run"
[ -n "$text" ] || wrong "the program says nothing"
[ "$failures" = 0 ]
