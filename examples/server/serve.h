#pragma once

#include "examples/cli/command.h"

namespace v4rt::cli {

void add_serve(CLI::App& app, Action& action);

}  // namespace v4rt::cli
