#pragma once

#include "backend/device.h"

namespace v4rt {

// What a device's products with weights of one type reach at DeepSeek-V4's widths: of one token, 1e9 bytes of weights a
// second; of many at once, 1e9 FLOP a second. 0: it has no such product, or no room to measure it.
struct ProductSpeed {
  double gbs = 0, gflops = 0;
};

// FP4 is measured with experts, which are the only weights that have it; other types with a matrix.
ProductSpeed measure_products(Device& device, DType weight);

}  // namespace v4rt
