#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/lanes_choice.h"
#include "backend/opencl_name.h"

namespace v4rt {

class Child;

// Tries both forms of the kernels on a device, each in a process of its own: the device is probed there (arithmetic.h),
// and products of many tokens are measured, in turns, then those of one, unless one form is clearly slower already.
// Neither crashes nor hangs harm this process. `command` starts a process that calls serve() with its standard input;
// nullopt: it does not. The first form gets `patience` to be ready and for each measurement; the second a third of
// that, or four times as long as the first took. Processes that came to no harm are added to `waiting`: they may be
// asked to compile.
std::optional<LanesTrials> try_lanes(const std::vector<std::string>& command, Lanes usual,
                                     std::vector<std::unique_ptr<Child>>& waiting,
                                     std::chrono::milliseconds patience = std::chrono::minutes(1));

// Such a process, which was asked to try `lanes`: what it is asked for after that.
std::optional<std::string> serve_trial(const OpenclName& device, Lanes lanes, int socket);

}  // namespace v4rt
