#pragma once

#include <cstdint>
#include <string>

#include "ops/core/dtype.h"

namespace v4rt {

struct GemmShape {
  int64_t m, n, k;
  bool add;  // to the sums that are there
};

// A library's product of dense matrices: sums [m, n] = rows [m, k] * panel [k, n], or added to them, on the calling
// thread alone. The library chooses the order of summation. If it fails it returns false and leaves the sums as they
// were.
struct LibraryGemm {
  bool (*multiply)(const void* rows, const void* panel, float* sums, const GemmShape& shape) noexcept = nullptr;
  DType element = DType::kF32;         // of rows and panel
  std::string (*version)() = nullptr;  // "Eigen 3.4.0"

  bool built_in() const { return multiply != nullptr; }
};

extern const LibraryGemm kEigenGemm;       // f32
extern const LibraryGemm kOnednnGemm;      // f32
extern const LibraryGemm kOnednnBf16Gemm;  // bf16, whose products are exact in f32

}  // namespace v4rt
