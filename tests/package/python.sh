#!/usr/bin/env bash
# Makes a wheel against the installed library, installs it into an environment of its own, and runs pytest with it.
# Arguments: the build folder, the source folder. Exit status 77 where Python's packages cannot be had.
set -euo pipefail
build=$1 source=$2
environment=$build/python-environment prefix=$build/python-prefix
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
skip() { tail -n 3 "$work/log"; echo "$1"; exit 77; }

if [ ! -f "$environment/ready" ]; then
  rm -rf "$environment"
  python3 -m venv "$environment" >"$work/log" 2>&1 || skip "no Python environment could be made (python3-venv)"
  "$environment/bin/pip" install -q scikit-build-core nanobind numpy pytest >"$work/log" 2>&1 ||
    skip "pip could not install scikit-build-core, nanobind, numpy and pytest"
  touch "$environment/ready"
fi
python=$environment/bin/python
cmake --install "$build" --prefix "$prefix" >"$work/log" || { cat "$work/log"; exit 1; }
CMAKE_PREFIX_PATH=$prefix "$python" -m pip wheel -q --no-deps --no-build-isolation --wheel-dir "$work" \
  -C "build-dir=$build/python" "$source" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$python" -m pip install -q --no-deps --force-reinstall "$work"/v4rt-*.whl
rm -rf "$prefix"
cd "$work"

# Every block of Python in the documents is a program.
while read -r document; do
  awk -v name="snippet.$(tr / . <<<"$document")" '/^```/ { inside = !inside && $0 == "```python"; n += inside; next }
    inside { print > (name "." n ".py") }' "$source/$document"
done < <(cd "$source" && git ls-files '*.md')
for snippet in snippet.*.py; do "$python" "$snippet" >output || exit 1; [ -s output ] || { echo "$snippet says nothing"; exit 1; }; done
"$python" -m pytest -q -p no:cacheprovider "$source/tests/python"
