#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "backend/conformance/case.h"
#include "backend/device.h"

namespace v4rt {

// What outputs, dead rows and scratch memory hold before a kernel runs: NaN as F32 and BF16, -1 as I32.
inline constexpr std::byte kPoison{0xff};

// Bytes of every input of a case, in Layout::kRows, the same on every device.
struct CaseData {
  std::vector<std::vector<std::byte>> values, scales;
};

// Unusual numbers in every other row of one input (or in its only row): a NaN or an infinity at one place; or subnormal
// numbers, everywhere in every second of those rows, and at half of the places in the others.
struct Unusual {
  enum class Kind : uint8_t { kNan, kInfinity, kSubnormal };
  Kind kind;
  size_t input;
  bool scaled;  // weights of the case have scales, so that no block of products may be subnormal as a whole
                // (exact_math.h)
  std::string describe() const;
};
std::vector<Unusual> unusual_data(const Case& c);  // each kind in each input of numbers or cache rows

CaseData make_data(const Case& c, const std::optional<Unusual>& unusual = {});

struct HostTensor {
  TensorType type;
  std::vector<std::byte> values, scales;
};

// Input `i` as `device` wants it: weights of products in its layout.
TensorType input_type(const Device& device, const Case& c, size_t i);
HostTensor input_for(const Device& device, const Case& c, const CaseData& data, size_t i);

int32_t n_tokens(const Case& c);  // live rows

}  // namespace v4rt
