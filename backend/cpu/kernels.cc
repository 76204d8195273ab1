#include "backend/cpu/kernels.h"

#include <array>

namespace v4rt {

std::span<const CpuEntry> cpu_kernels() {
  static const std::array kTable{kCpuEmbedRows,    kCpuTakeLast,         kCpuAddStreams,      kCpuLinearEigen,
                                 kCpuLinearOnednn, kCpuLinearOnednnBf16, kCpuLinear,          kCpuRmsNorm,
                                 kCpuHeadRms,      kCpuRepack,           kCpuRopeTail,        kCpuFakeQuant,
                                 kCpuHadamard,     kCpuRingAppend,       kCpuRingRead,        kCpuHcPre,
                                 kCpuHcPost,       kCpuHcHead,           kCpuRouteTopK,       kCpuRouteHash,
                                 kCpuSwiglu,       kCpuMoeGateUpEigen,   kCpuMoeGateUpOnednn, kCpuMoeGateUpOnednnBf16,
                                 kCpuMoeGateUp,    kCpuMoeDownEigen,     kCpuMoeDownOnednn,   kCpuMoeDownOnednnBf16,
                                 kCpuMoeDown,      kCpuMoeDownParts,     kCpuMoeSum,          kCpuAttend,
                                 kCpuIndexSelect,  kCpuCompressPool,     kCpuCustom};
  return kTable;
}

}  // namespace v4rt
