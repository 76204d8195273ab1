#include "version.h"  // written by version.cmake at each build: the commit

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backend/registry.h"
#include "examples/cli/command.h"
#include "graph/api/v4rt.h"

namespace v4rt::cli {

std::string commit() { return V4RT_COMMIT; }

std::string version_text() {
  return fmt::format(
      "v4rt {}\n"
      "commit    {}\n"
      "compiler  {}\n"
      "backends  {}\n"
      "libraries {}",
      v4rt_version(), commit(), V4RT_COMPILER, fmt::join(built_in_backends(), ", "),
      built_in_libraries().empty() ? "none" : fmt::format("{}", fmt::join(built_in_libraries(), ", ")));
}

}  // namespace v4rt::cli
