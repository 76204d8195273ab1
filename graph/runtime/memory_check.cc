#include "graph/runtime/memory_check.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>

#include "ops/core/error.h"
#include "ops/core/human.h"

namespace v4rt {
namespace {

// Saturates: what cannot be counted does not fit either.
size_t sum(std::initializer_list<size_t> terms) {
  size_t total = 0;
  for (const size_t term : terms) {
    if (__builtin_add_overflow(total, term, &total)) return std::numeric_limits<size_t>::max();
  }
  return total;
}

std::string one_allocation(const DeviceInfo& device, std::string_view what, size_t bytes) {
  if (device.max_allocation == 0 || bytes <= device.max_allocation) return {};
  return fmt::format("{} takes {}, and one allocation of {} may be {}", what, human_bytes(bytes), device.name,
                     human_bytes(device.max_allocation));
}

// The number that a file of the kernel begins with; all there is when it has none ("max") or is not there.
size_t limit_in(const std::filesystem::path& path) {
  std::ifstream file(path);
  size_t limit = 0;
  return file >> limit ? limit : std::numeric_limits<size_t>::max();
}

// The least limit that a control group and those above it have; in a container, its own.
size_t least_limit(const std::filesystem::path& root, std::filesystem::path group, std::string_view file) {
  for (size_t limit = std::numeric_limits<size_t>::max();; group = group.parent_path()) {
    limit = std::min(limit, limit_in(root / group.relative_path() / file));
    if (group == group.parent_path()) return limit;
  }
}

}  // namespace

size_t control_group_limit(const std::filesystem::path& root, std::istream& groups) {
  std::string unified = "/", memory = "/";
  for (std::string line; std::getline(groups, line);) {  // number:controllers:path
    const size_t controllers = line.find(':') + 1, path = line.find(':', controllers) + 1;
    if (controllers == 0 || path == 0) continue;
    const std::string names = "," + line.substr(controllers, path - 1 - controllers) + ",";
    if (names == ",,") unified = line.substr(path);
    if (names.find(",memory,") != std::string::npos) memory = line.substr(path);  // the first version of control groups
  }
  return std::min(least_limit(root, unified, "memory.max"),
                  least_limit(root / "memory", memory, "memory.limit_in_bytes"));
}

size_t available_memory() {
  size_t available = static_cast<size_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  std::ifstream memory("/proc/meminfo");
  for (std::string line; std::getline(memory, line);) {
    if (line.starts_with("MemAvailable:")) available = std::stoull(line.substr(13)) << 10;
  }
  std::ifstream groups("/proc/self/cgroup");
  return std::min(available, control_group_limit("/sys/fs/cgroup", groups));
}

std::string exceeds(const DeviceInfo& device, const MemoryNeed& need) {
  const size_t total = sum({need.weights, need.states, need.arena, need.io});
  if (device.memory > 0 && total > device.memory) {
    return fmt::format("{} of weights, {} of state and {} of working memory are more than the {} of {}",
                       human_bytes(need.weights), human_bytes(need.states), human_bytes(sum({need.arena, need.io})),
                       human_bytes(device.memory), device.name);
  }
  const std::string state = one_allocation(device, "the largest state", need.largest_state);
  return state.empty() ? one_allocation(device, "working memory", need.arena) : state;
}

int64_t largest_context(int64_t limit, const std::function<bool(int64_t)>& fits) {
  int64_t good = 0, bad = limit;
  while (bad - good > 1) {
    const int64_t middle = good + (bad - good) / 2;
    (fits(middle) ? good : bad) = middle;
  }
  return good;
}

}  // namespace v4rt
