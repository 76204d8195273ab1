#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace v4rt {

// Whether kernels may run whose sums have a library's order, and not that of the op's definition.
enum class Fast : uint8_t {
  kNever,
  kAuto,    // where they were measured to be faster than the exact ones
  kAlways,  // wherever there is one: to set a whole model on a library beside the exact one
};

struct FastOptions {
  Fast use = Fast::kNever;
  std::string cache_dir;  // where measurements are kept; empty: each process measures anew
  bool again = false;     // what is kept there is not read, only replaced
  std::function<void(std::string_view what)> measuring;  // before each measurement, which may take seconds; or empty
};

}  // namespace v4rt
