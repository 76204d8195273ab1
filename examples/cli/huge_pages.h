#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace v4rt::cli {

// How this machine gives out transparent huge pages: "always", "madvise" (to programs that ask, as the cpu device does
// for large allocations), "never"; empty if the kernel does not say.
std::string huge_page_mode();

// Of this process's memory, without mapped files.
struct HugePageUse {
  int64_t bytes = 0;  // in all
  int64_t in_huge_pages = 0;
};
std::optional<HugePageUse> huge_page_use();  // empty if the kernel does not say

}  // namespace v4rt::cli
