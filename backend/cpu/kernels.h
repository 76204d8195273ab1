#pragma once

#include <span>

#include "backend/cpu/cpu_device.h"
#include "backend/kernel_table.h"

namespace v4rt {

using CpuEntry = KernelEntry<CpuDevice>;

// In order of preference per op.
std::span<const CpuEntry> cpu_kernels();

// One per file of kernels/.
extern const CpuEntry kCpuEmbedRows, kCpuTakeLast, kCpuAddStreams;

}  // namespace v4rt
