#pragma once

#include <memory>

#include "loaders/checkpoint/weight_source.h"

namespace v4rt {

// The weights of write_synthetic_checkpoint() by type alone, for plans that are compiled and not run: there are no
// values.
std::shared_ptr<const WeightSource> synthetic_types(const V4Config& config);

}  // namespace v4rt
