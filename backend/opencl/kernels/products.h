#pragma once

#include <memory>
#include <span>

#include "backend/joining.h"
#include "backend/opencl/opencl_device.h"

namespace v4rt {

// Products of one token with several matrices of one K, by one launch: work-groups for each, side by side. Matrices may
// be of different types.

// As JoiningDevice.
bool joins_products(std::span<const JoinedCall> calls, const OpenclDevice& device);
std::unique_ptr<Kernel> join_products(std::span<const JoinedCall> calls, OpenclDevice& device);

}  // namespace v4rt
