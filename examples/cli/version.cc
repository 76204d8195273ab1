#include "version.h"  // written by version.cmake at each build: the commit

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backend/registry.h"
#include "examples/cli/command.h"

namespace v4rt::cli {

std::string version_text() {
  return fmt::format(
      "v4rt {}\n"
      "commit    {}\n"
      "compiler  {}\n"
      "backends  {}",
      V4RT_VERSION, V4RT_COMMIT, V4RT_COMPILER, fmt::join(built_in_backends(), ", "));
}

}  // namespace v4rt::cli
