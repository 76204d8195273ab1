#include "backend/opencl/kernels.h"

#include <array>

#include "backend/opencl/kernels/entries.h"

namespace v4rt {

std::span<const OpenclEntry> opencl_kernels() {
  static const std::array table{
      kOpenclRmsNorm,
  };
  return table;
}

std::string define(const char* name, DType dtype) { return fmt::format("{}={}", name, info(dtype).name); }
std::string define(const char* name, int64_t value) { return fmt::format("{}={}", name, value); }

}  // namespace v4rt
