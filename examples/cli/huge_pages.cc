#include "examples/cli/huge_pages.h"

#include <fstream>
#include <limits>

namespace v4rt::cli {

// "always [madvise] never": the brackets mark the mode in use.
std::string huge_page_mode() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  for (std::string word; file >> word;) {
    if (word.size() > 2 && word.front() == '[' && word.back() == ']') return word.substr(1, word.size() - 2);
  }
  return {};
}

// Lines like "AnonHugePages:   36864 kB".
std::optional<HugePageUse> huge_page_use() {
  std::ifstream file("/proc/self/smaps_rollup");
  HugePageUse use;
  bool found = false;
  for (std::string field; file >> field; file.ignore(std::numeric_limits<std::streamsize>::max(), '\n')) {
    const bool huge = field == "AnonHugePages:";
    if (!huge && field != "Anonymous:") continue;
    int64_t kib = 0;
    file >> kib;
    (huge ? use.in_huge_pages : use.bytes) = kib << 10;
    found = found || huge;
  }
  return found ? std::optional(use) : std::nullopt;
}

}  // namespace v4rt::cli
