#pragma once

#include "backend/device.h"

namespace v4rt {

// Of so many threads of the host, every one of which reads a part of its own; best of several passes. `matrix_unit`:
// there is one that the process may use.
DeviceSpeed measure_host(int threads, bool matrix_unit);

}  // namespace v4rt
