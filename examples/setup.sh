# What the scripts share: packages and the build. Sourced by examples/quickstart.sh and tests/run.sh.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build

base_packages=(g++ cmake ninja-build pkg-config libfmt-dev libspdlog-dev libcli11-dev nlohmann-json3-dev libpcre2-dev
  libhwy-dev libxxhash-dev)
opencl_packages=(ocl-icd-opencl-dev pocl-opencl-icd)  # the ICD loader with its headers; an implementation on the CPU
eigen_packages=(libeigen3-dev)  # libraries for --fast
onednn_packages=(libdnnl-dev)
clblast_packages=(libclblast-dev)
server_packages=(libcpp-httplib-dev)
# clang-format for the structure test, curl for the server's, dpkg-dev for the Debian packages, doxygen for the reference
test_packages=(libgtest-dev libgmock-dev clang-format-14 curl dpkg-dev doxygen)
browser_packages=(chromium)  # opens the page of v4rt compare in a test
fuzz_packages=(clang-14 libclang-rt-14-dev)  # libFuzzer and the sanitizers, for tests/fuzz/run.sh
python_packages=(python3-venv python3-dev)  # for pip: the Python package, and what the tests compare with
lint_packages=(clang-tidy-14)  # for tests/lint.sh
gpu_packages=(clang-19 libclc-15)  # for bench/gpu_check; libclc-15, for what Mesa needs conflicts with a later one

say() { printf '%s\n' "$@"; }
die() { say "$*" >&2; exit 1; }

installed() { [ "$(dpkg-query -W -f='${Status}' "$1" 2>/dev/null)" = "install ok installed" ]; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Installs what is missing of the named packages; says nothing when nothing is. Fails, having said why, when something
# cannot be had.
install_packages() {
  local missing=() package
  if ! command -v apt-get >/dev/null; then
    command -v cmake >/dev/null || say "This script installs packages with apt-get, which is not here. Needed: $*"
    return 0
  fi
  for package in "$@"; do installed "$package" || missing+=("$package"); done
  [ ${#missing[@]} = 0 ] && return 0
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    say "These packages are missing, and installing them needs root or sudo: ${missing[*]}"
    say "Ask an administrator to run: apt-get install ${missing[*]}"
    return 1
  fi
  say "Installing ${missing[*]}"
  local log
  log=$(mktemp)
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q update >"$log" 2>&1 ||
    say "The package lists could not be renewed; trying with those that are there."
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q -y --no-install-recommends \
    install "${missing[@]}" >>"$log" 2>&1; then
    tail -n 15 "$log"
    say "apt-get could not install: ${missing[*]} (all of its output: $log)"
    return 1
  fi
  rm -f "$log"
}

# A Python environment in the folder $1 with the packages $2... from PyPI, made once.
python_environment() {
  local folder=$1
  shift
  [ -f "$folder/complete" ] && return
  install_packages python3-venv >/dev/null && rm -rf "$folder" && python3 -m venv "$folder" &&
    "$folder/bin/python" -m pip install -q --only-binary :all: "$@" && touch "$folder/complete"
}

# Packages for a build, $@ more. OpenCL, the server and the libraries of --fast are left out, with a word, where they cannot be had.
options=()
prepare() {
  install_packages "${base_packages[@]}" "$@" || die "Without these packages v4rt cannot be built here."
  if ! install_packages "${opencl_packages[@]}"; then
    say "Going on without OpenCL."
    options+=(-DV4RT_OPENCL=OFF)
  elif ! install_packages "${clblast_packages[@]}"; then
    say "Going on without CLBlast for --fast."
    options+=(-DV4RT_CLBLAST=OFF)
  fi
  if ! install_packages "${eigen_packages[@]}"; then
    say "Going on without Eigen for --fast."
    options+=(-DV4RT_EIGEN=OFF)
  fi
  if ! install_packages "${server_packages[@]}"; then
    say "Going on without the server."
    options+=(-DV4RT_SERVER=OFF)
  fi
  if install_packages "${onednn_packages[@]}"; then
    options+=(-DV4RT_ONEDNN=ON)
  else
    say "Going on without oneDNN for --fast."
  fi
}

# Release, for this machine's instruction set, in build/: $@ are further options of cmake.
build_all() {
  mkdir -p "$build"
  command -v ccache >/dev/null && options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DV4RT_NATIVE=ON "${options[@]}" "$@" \
    >"$build/configure.log" 2>&1 || {
    tail -n 25 "$build/configure.log"
    die "cmake could not configure the build (all of its output: $build/configure.log). If $build was made in another way, remove it."
  }
  cmake --build "$build" || die "The build failed."
}
