#pragma once

#include "backend/opencl/kernels.h"

namespace v4rt {

extern const OpenclEntry kOpenclRmsNorm;

}  // namespace v4rt
