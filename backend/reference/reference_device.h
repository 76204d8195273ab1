#pragma once

#include <memory>

#include "backend/device.h"

namespace v4rt {

// The meaning of every op, run on the host: its kernels are Op::reference(). Weights stay in the file's layout.
std::shared_ptr<Device> create_reference_device();

}  // namespace v4rt
