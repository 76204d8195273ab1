#pragma once

#include <cstddef>
#include <vector>

#include "backend/device.h"
#include "tests/conformance/case.h"

namespace v4rt {

// What outputs, dead rows and scratch memory hold before a kernel runs: NaN as F32 and BF16, -1 as I32.
inline constexpr std::byte kPoison{0xff};

// Bytes of every input of a case, in Layout::kRows, the same on every device.
struct CaseData {
  std::vector<std::vector<std::byte>> values, scales;
};
CaseData make_data(const Case& c);

struct HostTensor {
  TensorType type;
  std::vector<std::byte> values, scales;
};

// Input `i` as `device` wants it: weights of products in its layout.
HostTensor input_for(const Device& device, const Case& c, const CaseData& data, size_t i);

int32_t n_tokens(const Case& c);  // live rows

}  // namespace v4rt
