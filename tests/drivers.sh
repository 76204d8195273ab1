#!/usr/bin/env bash
# OpenCL drivers that Debian and PyPI have, each on its own: v4-mini held to a receipt, and conformance in both
# forms of the kernels. drivers.sh BUILD [NAME...]: pocl, intel, fpga, rusticl, oclgrind; all of them where none is
# named. SHARE=1 runs every case on each; otherwise a driver runs one of so many as its pace allows. A driver that v4rt
# refuses, with the fact, is no failure; one that cannot be installed is left out. Intel's two are not free software.
. "$(dirname "${BASH_SOURCE[0]}")/../examples/setup.sh"

build=$(realpath "$1") && shift
[ $# -gt 0 ] || set -- pocl intel fpga rusticl oclgrind
conformance=$build/bin/conformance v4rt=$build/bin/v4rt
logs=$build/drivers
mkdir -p "$logs"
export RUSTICL_ENABLE=llvmpipe

# What the loader is to find, as `icd`, and one of how many cases run, as `share`.
bring_up() {
  case $1 in
    pocl) install_packages pocl-opencl-icd && icd=/etc/OpenCL/vendors/pocl.icd share=8 ;;
    rusticl) install_packages mesa-opencl-icd && icd=/etc/OpenCL/vendors/rusticl.icd share=8 ;;
    oclgrind) install_packages oclgrind && icd=/usr/lib/oclgrind/liboclgrind-rt-icd.so share=64 ;;
    intel) python_environment "$logs/intel" intel-opencl-rt==2026.2.0 intel-cmplr-lib-rt==2026.2.0 && icd=$logs/intel/lib/libintelocl.so share=8 ;;
    fpga)
      python_environment "$logs/fpga" intel-opencl-fpga-emu-rt==2025.0.5 intel-opencl-rt==2025.0.5 intel-cmplr-lib-rt==2025.0.5 tbb tcmlib &&
        icd=$logs/fpga/lib/libintelocl_emu.so share=16 ;;
    *) die "$1 is no driver: pocl, intel, fpga, rusticl, oclgrind" ;;
  esac
}

receipt() {
  timeout 600 "$v4rt" receipt mini --verify "$root/tests/data/receipts/v4-mini-text.jsonl" --device opencl --no-cache 2>"$logs/errors"
}

failed=0
for driver in "$@"; do
  if ! bring_up "$driver" >"$logs/$driver.install" 2>&1; then
    say "$driver: left out: $(tail -n 1 "$logs/$driver.install")"
    continue
  fi
  if ! OCL_ICD_VENDORS=$icd "$v4rt" devices 2>/dev/null | grep -q '^opencl:0'; then
    say "$driver: left out: it shows no device here"
    continue
  fi
  export OCL_ICD_VENDORS=$icd OCLGRIND_LOG=$logs/$driver.oclgrind
  rm -f "$OCLGRIND_LOG"
  status=0
  said=$(receipt) || status=$?
  fact=$(sed -n 's/.*answers would be others: //p; s/.*: \(its driver ended the process .*)\).*/\1/p' "$logs/errors")
  if [ "$status" != 0 ] && [ -n "$fact" ]; then
    say "$driver: refused: $fact"
    continue
  fi
  ok=1
  [ "$status" = 0 ] || { ok=0 && say "$driver: v4-mini: ${said:-$(tail -n 1 "$logs/errors")}"; }
  # What it prints last counts: Oclgrind may abort after that, when the process ends.
  GTEST_TOTAL_SHARDS=${SHARE:-$share} GTEST_SHARD_INDEX=0 timeout 3600 "$conformance" --gtest_filter='*opencl_*' \
    >"$logs/$driver.log" 2>&1 || true
  grep -q '^\[  PASSED  \]' "$logs/$driver.log" && ! grep -q '^\[  FAILED  \]' "$logs/$driver.log" || ok=0
  count() { grep -c "$1" "$logs/$driver.log" || true; }
  passed=$(count '^\[       OK') wrong=$(count '^\[  FAILED  \].* ms)$')
  [ ! -s "$OCLGRIND_LOG" ] || { ok=0 && say "$driver: $(head -n 3 "$OCLGRIND_LOG")"; }
  [ $ok = 1 ] || failed=1
  say "$driver: $passed passed, $wrong failed$([ $ok = 1 ] || printf ' (%s)' "$logs/$driver.log")"
done
exit $failed
