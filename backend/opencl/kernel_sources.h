#pragma once

#include <span>
#include <string_view>

namespace v4rt {

// A kernel file as it was when the library was built: "linear.cl" and its text.
struct KernelSource {
  std::string_view name, text;
  bool fences = false;  // of device scope, which are OpenCL C 2.0 and later
};

std::span<const KernelSource> kernel_sources();
const KernelSource& kernel_source(std::string_view name);  // throws Error(kInternal) when there is none

}  // namespace v4rt
