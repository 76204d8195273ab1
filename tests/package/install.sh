#!/usr/bin/env bash
# Installs a build, moves what was installed, and lets programs outside the tree build against it and run.
# Arguments: the build folder, the source folder, a C compiler, json_value, the build type.
set -euo pipefail
build=$1 source=$2 cc=$3 json_value=$4 build_type=$5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
wrong() { echo "$*" && failures=$((failures + 1)); }
same() { [ "$2" = "$3" ] || wrong "$1: got '$2', not '$3'"; }

cmake --install "$build" --prefix "$work/first" >"$work/log" || { cat "$work/log"; exit 1; }
mv "$work/first" "$work/prefix"  # nothing may remember where it was installed
prefix=$work/prefix
library=$(find "$prefix" -name libv4rt.so)
libraries=$(dirname "$library")
model=$prefix/share/v4rt/models/v4-mini
export LD_LIBRARY_PATH=$libraries

if grep -rlF -e "$source" -e "$work" "$libraries/cmake" "$libraries/pkgconfig"; then wrong "these name a folder of this machine"; fi

# The shared library shows the functions of the header and nothing else.
grep -oE '^V4RT_API .*' "$prefix/include/v4rt.h" | grep -oE 'v4rt_[a-z_]+\(' | tr -d '(' | sort >"$work/declared"
nm -D --defined-only "$library" | awk '{print $3}' | sort >"$work/exported"
diff "$work/declared" "$work/exported" || wrong "declared (<) and exported (>) are not the same"
strip -o "$work/stripped.so" "$library"
size=$(stat -c %s "$work/stripped.so")
echo "libv4rt.so, stripped: $size bytes"
[ "$build_type" != Release ] || [ "$size" -le $((5 * 1024 * 1024)) ] || wrong "more than 5 MiB"

# The header is C11, and C++, and has no padding in any structure.
for language in "c -std=c11" "c++ -std=c++11"; do
  echo '#include <v4rt.h>' |
    "$cc" -x $language -I"$prefix/include" -Wall -Wextra -Wpadded -Wpedantic -Werror -fsyntax-only - ||
    wrong "v4rt.h as ${language%% *}"
done

expected=$("$json_value" "$model/golden/text.json" /greedy/0/text)
expected=${expected%<｜end*}
says_the_same() { # WHAT PROGRAM
  same "$1" "$("$2" "$model"; echo x)" "${expected}x"
}
cmake -S "$source/tests/package/outside" -B "$work/outside" -DCMAKE_PREFIX_PATH="$prefix" -DEXAMPLES="$source/examples" \
  -DCMAKE_C_COMPILER="$cc" >"$work/log" 2>&1 && cmake --build "$work/outside" >>"$work/log" 2>&1 ||
  { cat "$work/log"; exit 1; }
for program in c_v4rt c_static cc_v4rt cc_static custom_backend; do says_the_same "find_package, $program" "$work/outside/$program"; done

for program in custom_op csa_layer; do "$work/outside/$program" cpu reference || wrong "$program"; done

# The code of the documents.
blocks() { awk -v fence="\`\`\`$2" '/^```/ { inside = !inside && $0 == fence; next } inside' "$source/$1"; }

projects() { # DOCUMENT SOURCE: its lines of CMake build a program
  mkdir "$work/project"
  { echo 'cmake_minimum_required(VERSION 3.22)
project(project LANGUAGES C CXX)
set(CMAKE_CXX_STANDARD 20)
add_executable(mine mine.${SUFFIX})'
    blocks "$1" cmake; } >"$work/project/CMakeLists.txt"
  cp "$source/$2" "$work/project/mine.${2##*.}"
  cmake -S "$work/project" -B "$work/project/build" -DSUFFIX="${2##*.}" -DCMAKE_PREFIX_PATH="$prefix" >"$work/log" 2>&1 &&
    cmake --build "$work/project/build" >>"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
  says_the_same "$1" "$work/project/build/mine"
  rm -r "$work/project"
}
projects README.md tests/package/outside/golden.c
projects examples/run.md tests/package/outside/golden.c
projects examples/device.md examples/custom_backend/custom_backend.cc

programs() { # DOCUMENT LINES: its programs in C and C++, which print so many lines
  local language suffix name
  for language in "c c11" "cpp c++20"; do
    suffix=${language% *} name=$(basename "$1" .md)_${language% *}
    blocks "$1" "$suffix" >"$work/$name.$suffix"
    "$cc" -std="${language#* }" -Wall -Wextra -Wpedantic -Werror -I"$prefix/include" "$work/$name.$suffix" -o "$work/$name" \
      -L"$libraries" -lv4rt -lstdc++ && "$work/$name" "$model" >"$work/$name.text" || wrong "$1: $suffix"
    same "$1, lines of $suffix" "$(grep -c '' "$work/$name.text")" "$2"
  done
}
programs examples/engine.md 4
same "examples/engine.md, C++" "$(head -n 3 "$work/engine_cpp.text")" "$(head -n 3 "$work/engine_c.text")"
grep -qvE '[012356789]' <(tail -n 1 "$work/engine_cpp.text") || wrong "examples/engine.md: the filter filters nothing"
programs examples/run.md 5
same "examples/run.md, C++" "$(cat "$work/run_cpp.text")" "$(cat "$work/run_c.text")"
[[ $expected == "$(cat "$work/run_c.text")"* ]] || wrong "examples/run.md: another text"
programs examples/embed.md 7
same "examples/embed.md, C++" "$(cat "$work/embed_cpp.text")" "$(cat "$work/embed_c.text")"
same "examples/embed.md, the budget" "$(head -n 1 "$work/embed_c.text"), $(tail -n 1 "$work/embed_c.text")" \
  "out of memory, 0 bytes were not given back"

# Each part of device.md stands in the program that it is about.
program=$(<"$source/examples/custom_backend/custom_backend.cc") parts=0
while IFS= read -r -d $'\001' part; do
  [[ $program == *"$part"* ]] || wrong "examples/device.md: not in custom_backend.cc: $part"
  parts=$((parts + 1))
done < <(awk '/^```/ { if (inside) printf "\001"; inside = !inside && $0 == "```cpp"; next } inside' "$source/examples/device.md")
same "examples/device.md, parts" "$parts" 5

export PKG_CONFIG_PATH=$libraries/pkgconfig
flags=$(pkg-config --cflags --libs v4rt)
same "pkg-config" "$(tr ' ' '\n' <<<"$flags" | grep -vE '^(-I|-L|-lv4rt$)' | tr -d '\n')" ""
"$cc" -std=c11 "$source/tests/package/outside/golden.c" -o "$work/by_pkg_config" $flags
says_the_same "pkg-config" "$work/by_pkg_config"

same "the program's version" "$("$prefix/bin/v4rt" --version | head -n 1)" "v4rt $(pkg-config --modversion v4rt)"
[ "$failures" = 0 ]
