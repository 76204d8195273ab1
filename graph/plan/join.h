#pragma once

#include <vector>

#include "graph/passes/place.h"
#include "graph/plan/plan.h"

namespace v4rt {

// Per node: the family, as its device calls it, of those that it may be launched with; 0: it is launched alone.
std::vector<int> families(const Placed& placed, const PlaceOptions& options);

// Joins launches that follow each other where their device can: as many as it takes, from the first on.
void join_launches(Plan& plan);

}  // namespace v4rt
