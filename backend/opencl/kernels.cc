#include "backend/opencl/kernels.h"

#include <algorithm>
#include <array>
#include <bit>

#include "backend/opencl/kernels/entries.h"

namespace v4rt {

std::span<const OpenclEntry> opencl_kernels() {
  static const std::array table{
      kOpenclEmbedRows,  kOpenclTakeLast,     kOpenclAddStreams,       kOpenclLinearClblast, kOpenclLinear,
      kOpenclRmsNorm,    kOpenclHeadRms,      kOpenclRopeTail,         kOpenclFakeQuant,     kOpenclHadamard,
      kOpenclRingAppend, kOpenclRingRead,     kOpenclCompressPool,     kOpenclIndexSelect,   kOpenclAttend,
      kOpenclAttendWide, kOpenclHcPre,        kOpenclHcPost,           kOpenclHcHead,        kOpenclRouteTopK,
      kOpenclRouteHash,  kOpenclSwiglu,       kOpenclMoeGateUpClblast, kOpenclMoeGateUp,     kOpenclMoeDownClblast,
      kOpenclMoeDown,    kOpenclMoeDownParts, kOpenclMoeSum,           kOpenclRepack,        kOpenclCustom,
  };
  return table;
}

std::string define(const char* name, DType dtype) { return fmt::format("{}={}", name, info(dtype).name); }
std::string define(const char* name, int64_t value) { return fmt::format("{}={}", name, value); }

std::vector<std::string> format_definitions(const RowFormat& format) {
  return {define("FORMAT", static_cast<int64_t>(format.kind)), define("DIM", format.dim), define("TAIL", format.tail),
          define("ROW_BYTES", format.bytes())};
}

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

size_t work_group(const OpenclDevice& device, size_t wanted) {
  if (device.capabilities().lanes == Lanes::kVector) return 1;
  return std::min(wanted, std::bit_floor(std::max<size_t>(device.capabilities().max_group, 1)));
}

Support all_row_major(const OpCall& call) {
  const auto row_major = [](const TensorType& type) { return type.layout == Layout::kRows; };
  return std::ranges::all_of(call.inputs, row_major) ? Support{} : Support::no("an input is not row-major");
}

Support fits_local(const OpenclDevice& device, int64_t bytes) {
  const auto have = static_cast<int64_t>(device.capabilities().local_memory);
  return bytes <= have ? Support{}
                       : Support::no(fmt::format("it needs {} bytes of local memory, there are {}", bytes, have));
}

}  // namespace v4rt
