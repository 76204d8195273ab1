#pragma once

#include "examples/server/api/api.h"
#include "graph/runtime/model.h"

namespace v4rt::server {

// Which device does what in a step of one token at the end of the context: launches and bytes of each kind of op.
OrderedJson plan_summary(const Model& model);

}  // namespace v4rt::server
