#include "backend/cpu/kernels.h"

#include <array>

namespace v4rt {

std::span<const CpuEntry> cpu_kernels() {
  static const std::array kTable{
      kCpuEmbedRows,  kCpuTakeLast,       kCpuAddStreams,      kCpuLinearEigen, kCpuLinearOnednn, kCpuLinear,
      kCpuRmsNorm,    kCpuHeadRms,        kCpuRepack,          kCpuRopeTail,    kCpuFakeQuant,    kCpuHadamard,
      kCpuRingAppend, kCpuHcPre,          kCpuHcPost,          kCpuHcHead,      kCpuRouteTopK,    kCpuRouteHash,
      kCpuSwiglu,     kCpuMoeGateUpEigen, kCpuMoeGateUpOnednn, kCpuMoeGateUp,   kCpuMoeDownEigen, kCpuMoeDownOnednn,
      kCpuMoeDown,    kCpuMoeDownParts,   kCpuMoeSum,          kCpuAttend,      kCpuIndexSelect,  kCpuCompressPool};
  return kTable;
}

}  // namespace v4rt
