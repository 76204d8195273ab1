#pragma once

#include <string>
#include <vector>

namespace v4rt {

// Makes `folder` and its parents if they do not exist; returns those it made, outermost first. Throws Error naming the
// folder; then none is left.
std::vector<std::string> make_folders(const std::string& folder);

}  // namespace v4rt
