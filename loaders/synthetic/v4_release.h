#pragma once

#include <string>

#include "loaders/checkpoint/v4_config.h"

namespace v4rt {

// The architectures of the released models, MTP block included.
V4Config v4_flash_config();
V4Config v4_pro_config();

// config.json of a checkpoint in the official layout, whose experts are FP4 and whose other large matrices are FP8.
std::string official_config_json(const V4Config& config);

}  // namespace v4rt
