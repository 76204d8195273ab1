#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace v4rt {

// Whether kernels may sum in the order of a library instead of the order that the op defines.
enum class Fast : uint8_t {
  kNever,
  kAuto,    // if measured to be faster than the exact kernel
  kAlways,  // wherever there is one, to compare a whole model on a library with the exact one
};

struct FastOptions {
  Fast use = Fast::kNever;
  std::string cache_dir;  // where measurements are kept; empty: each process measures anew
  bool again = false;     // ignore the stored measurements and replace them
  std::function<void(std::string_view what)> measuring;  // before each measurement, which may take seconds; or empty
};

}  // namespace v4rt
