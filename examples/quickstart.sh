#!/usr/bin/env bash
# From a fresh clone to tokens: installs what is missing, builds build/bin/v4rt, and lets the embedded model continue a text on
# the CPU and on OpenCL. May be run again at any time.
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

prompt=${1:-$'def factorial(n):\n    '}

prepare
build_all -DV4RT_TESTS=OFF
v4rt=$build/bin/v4rt
ids=$(mktemp -d)
trap 'rm -rf "$ids"' EXIT

complete() { # DEVICE
  say "" "--- v4rt run mini --device $1"
  "$v4rt" run mini --device "$1" --prompt="$prompt" --save-ids "$ids/$1"
}

say "" "The prompt:" "$prompt"
complete cpu || die "The completion on the CPU failed."

if [[ $("$v4rt" devices --json) != *'"opencl:'* ]]; then
  say "" "No OpenCL device was found, so there is no second completion to compare with." \
    "'build/bin/v4rt devices' lists what there is."
  exit 0
fi
[ -d "${XDG_CACHE_HOME:-$HOME/.cache}/v4rt" ] || say "" "The first run on OpenCL compiles its kernels; that takes a while."
complete opencl || die "The completion on OpenCL failed; the one on the CPU is good."
cmp -s "$ids/cpu" "$ids/opencl" ||
  die "cpu and opencl gave different tokens. That is a bug: please report it with the output of 'build/bin/v4rt devices'."
say "" "cpu and opencl gave the same $(wc -l <"$ids/cpu") tokens."
say "Next: build/bin/v4rt chat mini, build/bin/v4rt --help, README.md"
