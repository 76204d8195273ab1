#pragma once

#include "loaders/checkpoint/v4_config.h"
#include "loaders/files/json_fields.h"

namespace v4rt {

// The rotary keys of config.json: rope_theta, compress_rope_theta and rope_scaling as released, or transformers'
// rope_parameters. Needs head_dim, rope_head_dim and max_position. Refuses whatever differs from the rotation of spec
// section 6.
void read_rope(const Fields& f, V4Config& c);

}  // namespace v4rt
