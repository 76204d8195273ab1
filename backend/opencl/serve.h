#pragma once

#include "backend/opencl_name.h"

namespace v4rt {

// Does for another process what it asks for through the socket, until that is closed: compiles programs for the device
// and launches them (compilers.h), or tries a form of its kernels (lanes_trial.h).
void serve(const OpenclName& device, int socket);

}  // namespace v4rt
