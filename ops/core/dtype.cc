#include "ops/core/dtype.h"

#include <array>

#include "ops/core/arith.h"
#include "ops/core/error.h"

namespace v4rt {

int64_t DTypeInfo::row_bytes(int64_t n) const {
  int64_t bytes = 0;
  check(!__builtin_mul_overflow(ceil_div(n, block), int64_t{block_bytes}, &bytes), Code::kInvalidArgument,
        "a row of {} {} elements cannot be addressed", n, name);
  return bytes;
}

const DTypeInfo& info(DType dtype) {
  static constexpr std::array<DTypeInfo, 7> kTable{{
      {"f32", 1, 4, Scales::kNone, 0, 0},
      {"bf16", 1, 2, Scales::kNone, 0, 0},
      {"f16", 1, 2, Scales::kNone, 0, 0},
      {"i32", 1, 4, Scales::kNone, 0, 0},
      {"u8", 1, 1, Scales::kNone, 0, 0},
      {"fp8", 1, 1, Scales::kPlane, 128, 128},
      {"fp4", 2, 1, Scales::kPlane, 1, 32},
  }};
  return kTable[static_cast<size_t>(dtype)];
}

std::string_view name(Layout layout) {
  switch (layout) {
    case Layout::kRows: return "rows";
    case Layout::kRows16: return "rows16";
    case Layout::kDense: return "dense";
  }
  return "unknown";
}

}  // namespace v4rt
