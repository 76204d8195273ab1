#pragma once

#include <memory>
#include <span>

#include "backend/joining.h"
#include "backend/opencl/opencl_device.h"

namespace v4rt {

// What follows a product of one token column by column, by one launch: a work-group does its columns in each. A
// product, then the experts' moe_down that adds it, or hc_post of either.

bool follows_product(const OpCall& call);  // whether it may be one of those after the first

// As JoiningDevice.
bool joins_columns(std::span<const JoinedCall> calls, const OpenclDevice& device);
std::unique_ptr<Kernel> join_columns(std::span<const JoinedCall> calls, OpenclDevice& device);

}  // namespace v4rt
