#include "ops/core/folder.h"

#include <dirent.h>

#include <cerrno>
#include <memory>
#include <string_view>

namespace v4rt {

std::vector<std::string> names_in(const std::string& folder, std::error_code& error) {
  struct Close {
    void operator()(DIR* open) const { ::closedir(open); }
  };
  const std::unique_ptr<DIR, Close> open(::opendir(folder.c_str()));
  error.assign(open == nullptr ? errno : 0, std::generic_category());
  std::vector<std::string> names;
  while (const dirent* entry = open == nullptr ? nullptr : ::readdir(open.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

}  // namespace v4rt
