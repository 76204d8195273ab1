#pragma once

#include <optional>

namespace v4rt {

// Which OpenCL device: "opencl", the first one; "opencl:2"; "opencl:2/1", a part of it.
struct OpenclName {
  int index = 0;
  std::optional<int> part = {};
};

}  // namespace v4rt
