#include "version.h"  // written by version.cmake at each build: the commit

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "backend/registry.h"
#include "examples/cli/command.h"

namespace v4rt::cli {

std::string commit() { return V4RT_COMMIT; }

std::string version_text() {
  return fmt::format(
      "v4rt {}\n"
      "commit    {}\n"
      "compiler  {}\n"
      "backends  {}\n"
      "libraries {}",
      V4RT_VERSION, commit(), V4RT_COMPILER, fmt::join(built_in_backends(), ", "),
      built_in_libraries().empty() ? "none" : fmt::format("{}", fmt::join(built_in_libraries(), ", ")));
}

}  // namespace v4rt::cli
