#!/usr/bin/env bash
# gpu_check.py with its arguments, after installing the compilers that it asks; those that cannot be had are left out.
# They come from Debian and, NVIDIA's two, from PyPI; what is not free software stays in the build folder.
. "$(dirname "${BASH_SOURCE[0]}")/../../examples/setup.sh"

tools=$build/gpu_check
mkdir -p "$tools/bin"
install_packages "${gpu_packages[@]}" || say "Going on without clang: only Intel's targets are checked."
if python_environment "$tools/python" nvidia-cuda-nvcc==13.5.37 nvidia-cuda-nvdisasm==13.5.37; then
  ln -sf "$tools"/python/lib/python3*/site-packages/nvidia/cu*/bin/{ptxas,nvdisasm} "$tools/bin"
else
  say "Going on without NVIDIA's compiler."
fi

# Intel's compiler is unpacked, not installed: with it would come a driver, which every OpenCL program would list.
intel_packages=(intel-opencl-icd libigc1 libigdfcl1 libigdgmm12 libopencl-clang14 libllvmspirvlib14 libclang-cpp14 libllvm14)
unpack_intel() (
  rm -rf "$tools/intel" && mkdir "$tools/intel" && cd "$tools/intel" && apt-get -q download "${intel_packages[@]}" >log 2>&1 || exit
  for package in *.deb; do dpkg -x "$package" . || exit; done
  libraries=$tools/intel/usr/lib
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$libraries/x86_64-linux-gnu:$libraries/llvm-14/lib" \
    "$tools/intel/usr/bin/ocloc" >"$tools/bin/ocloc" && chmod +x "$tools/bin/ocloc"
)
[ -x "$tools/bin/ocloc" ] || unpack_intel || say "Going on without Intel's compiler: apt-get cannot download it."

PATH=$tools/bin:$PATH exec python3 "$root/bench/gpu_check/gpu_check.py" --v4rt "$build/bin/v4rt" "$@"
