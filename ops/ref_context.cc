#include "ops/ref_context.h"

#include "ops/core/dequant.h"

namespace v4rt {

void RefContext::read(int input, int64_t first, std::span<float> out) const { dequantise(tensor(input), first, out); }

Floats RefContext::read(int input) const {
  Floats values(static_cast<size_t>(tensor(input).type.shape.elements()));
  read(input, 0, values);
  return values;
}

void RefContext::write(int output, int64_t first, std::span<const float> values) const {
  store(out_tensor(output), first, values);
}

}  // namespace v4rt
