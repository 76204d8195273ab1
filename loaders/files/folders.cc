#include "loaders/files/folders.h"

#include <algorithm>
#include <filesystem>

#include "ops/core/error.h"

namespace v4rt {

namespace fs = std::filesystem;

std::vector<std::string> make_folders(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> made;
  for (fs::path path = folder; !path.empty() && !fs::exists(path, error); path = path.parent_path()) {
    made.push_back(path.string());
  }
  std::reverse(made.begin(), made.end());
  for (auto next = made.begin(); next != made.end();) {
    const bool is_new = fs::create_directory(*next, error);  // false if another process has just made it
    if (error) {
      std::error_code ignored;
      for (auto last = next; last != made.begin();) fs::remove(*--last, ignored);
      fail(Code::kInvalidArgument, "{}: cannot be made: {}; name another folder", folder, error.message());
    }
    next = is_new ? next + 1 : made.erase(next);
  }
  check(fs::is_directory(folder, error), Code::kInvalidArgument, "{}: is not a folder; name another", folder);
  return made;
}

}  // namespace v4rt
