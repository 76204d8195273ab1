#pragma once

#include <span>

#include "backend/cpu/cpu_device.h"

namespace v4rt {

using CpuEntry = KernelEntry<CpuDevice>;

// In order of preference per op.
std::span<const CpuEntry> cpu_kernels();

// Each is defined in the file of kernels/ named after its family.
extern const CpuEntry kCpuEmbedRows, kCpuTakeLast, kCpuAddStreams;
extern const CpuEntry kCpuLinear, kCpuRmsNorm, kCpuHeadRms, kCpuRepack;
extern const CpuEntry kCpuRopeTail, kCpuFakeQuant, kCpuHadamard, kCpuRingAppend, kCpuRingRead;
extern const CpuEntry kCpuHcPre, kCpuHcPost, kCpuHcHead;
extern const CpuEntry kCpuRouteTopK, kCpuRouteHash, kCpuSwiglu, kCpuMoeGateUp, kCpuMoeDown, kCpuMoeDownParts,
    kCpuMoeSum;
extern const CpuEntry kCpuLinearEigen, kCpuMoeGateUpEigen, kCpuMoeDownEigen;
extern const CpuEntry kCpuLinearOnednn, kCpuMoeGateUpOnednn, kCpuMoeDownOnednn;
extern const CpuEntry kCpuLinearOnednnBf16, kCpuMoeGateUpOnednnBf16, kCpuMoeDownOnednnBf16;
extern const CpuEntry kCpuAttend, kCpuIndexSelect, kCpuCompressPool;
extern const CpuEntry kCpuCustom;

}  // namespace v4rt
