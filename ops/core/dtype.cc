#include "ops/core/dtype.h"

#include <array>

namespace v4rt {

const DTypeInfo& info(DType dtype) {
  static constexpr std::array<DTypeInfo, 7> kTable{{
      {"f32", 32, 0, 0, 128},
      {"bf16", 16, 0, 0, 128},
      {"f16", 16, 0, 0, 128},
      {"i32", 32, 0, 0, 0},
      {"u8", 8, 0, 0, 0},
      {"fp8", 8, 128, 128, 128},
      {"fp4", 4, 1, 32, 32},
  }};
  return kTable[static_cast<size_t>(dtype)];
}

}  // namespace v4rt
