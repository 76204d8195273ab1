#pragma once

#include <vector>

#include "graph/passes/place.h"
#include "graph/plan/plan.h"

namespace v4rt {

// Per node: whether its device may launch it with others.
std::vector<bool> joinable(const Placed& placed, const PlaceOptions& options);

// Joins launches that follow each other where their device can: as many as it takes, from the first on. What
// one of them overwrites, no other uses.
void join_launches(Plan& plan);

}  // namespace v4rt
