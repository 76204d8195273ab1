#pragma once

#include <string>
#include <system_error>
#include <vector>

namespace v4rt {

// The names in a folder but "." and "..", in no order; `error` says why there are none. Not std::filesystem's iterator,
// which ends the process when there is no memory for a name.
std::vector<std::string> names_in(const std::string& folder, std::error_code& error);

}  // namespace v4rt
