#pragma once

#include <string>
#include <vector>

namespace v4rt {

// Makes `folder`, and those above it, where they are not there yet; answers which were made, the outermost first.
// Throws Error naming the folder; then none was made.
std::vector<std::string> make_folders(const std::string& folder);

}  // namespace v4rt
