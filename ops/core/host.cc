#include "ops/core/host.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace v4rt {
namespace {

// Paths are strings here: libstdc++'s own type frees memory twice when there is none left for it.

constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();

// The numbers at the start of a kernel file; none if it says "max" or does not exist.
std::vector<int64_t> numbers_in(const std::string& path) {
  std::ifstream file(path);
  std::vector<int64_t> numbers;
  for (int64_t number = 0; file >> number;) numbers.push_back(number);
  return numbers;
}

// The number after `name` in a file of lines "name number"; 0 if it is not there.
size_t number_of(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key;
    size_t number = 0;
    if (words >> key >> number && key == name) return number;
  }
  return 0;
}

// The names of the files we read in a folder, in the two versions of control groups.
struct MemoryFiles {
  const char *limit, *used, *inactive, *active;
};
constexpr MemoryFiles kUnified{"memory.max", "memory.current", "inactive_file", "active_file"};
constexpr MemoryFiles kFirst{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
                             "total_active_file"};

size_t memory_left(const std::string& folder, const MemoryFiles& files) {
  const auto limit = numbers_in(folder + files.limit), used = numbers_in(folder + files.used);
  if (limit.empty() || limit[0] < 0) return kNoLimit;
  const std::string statistics = folder + "memory.stat";
  const size_t pages = number_of(statistics, files.inactive) + number_of(statistics, files.active);
  const size_t taken = used.empty() ? 0 : static_cast<size_t>(used[0]);
  const size_t held = taken - std::min(taken, pages);  // memory that is not pages of files
  return static_cast<size_t>(limit[0]) - std::min(static_cast<size_t>(limit[0]), held);
}

double share(const std::vector<int64_t>& quota, const std::vector<int64_t>& period) {
  if (quota.empty() || period.empty() || quota[0] <= 0 || period[0] <= 0) return HUGE_VAL;
  return static_cast<double>(quota[0]) / static_cast<double>(period[0]);
}

double processors_left(const std::string& folder) {
  const auto unified = numbers_in(folder + "cpu.max");  // quota and period
  const auto first = share(numbers_in(folder + "cpu.cfs_quota_us"), numbers_in(folder + "cpu.cfs_period_us"));
  return unified.size() < 2 ? first : std::min(first, share({unified[0]}, {unified[1]}));
}

// The smallest `limit` of a group's folder and those above it. In a container, its own group is at the top.
template <class Limit>
auto least(const std::string& root, std::string group, Limit limit) {
  for (auto found = limit(root + group + "/");;) {
    if (group.empty()) return found;
    group.resize(std::min(group.rfind('/'), group.size() - 1));
    found = std::min(found, limit(root + group + "/"));
  }
}

std::optional<int> affinity() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return std::nullopt;
  return CPU_COUNT(&set);
}

GroupLimits own_limits() {
  std::ifstream groups("/proc/self/cgroup");
  return group_limits("/sys/fs/cgroup", groups);
}

}  // namespace

GroupLimits group_limits(const std::string& root, std::istream& groups) {
  std::string unified = "/", memory = "/", processors = "/";
  std::string processors_root = root + "/cpu";
  for (std::string line; std::getline(groups, line);) {  // number:controllers:path
    const size_t controllers = line.find(':') + 1, path = line.find(':', controllers) + 1;
    if (controllers == 0 || path == 0) continue;
    const std::string names = line.substr(controllers, path - 1 - controllers);
    const auto has = [&](const char* name) { return ("," + names + ",").find(name) != std::string::npos; };
    if (names.empty()) unified = line.substr(path);
    if (has(",memory,")) memory = line.substr(path);  // the first version of control groups
    if (!has(",cpu,")) continue;
    processors = line.substr(path);
    const std::string together = root + "/" + names;  // "cpu,cpuacct"
    if (::access(together.c_str(), F_OK) == 0) processors_root = together;
  }
  const auto unified_memory = [](const std::string& folder) { return memory_left(folder, kUnified); };
  const auto first_memory = [](const std::string& folder) { return memory_left(folder, kFirst); };
  return {std::min(least(root, unified, unified_memory), least(root + "/memory", memory, first_memory)),
          std::min(least(root, unified, processors_left), least(processors_root, processors, processors_left))};
}

int usable_processors() {
  const int cores = affinity().value_or(static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
  const double time = std::ceil(own_limits().processors);
  return std::max(1, time < cores ? static_cast<int>(time) : cores);
}

size_t process_memory() {
  constexpr const char* kFile = "/proc/self/smaps_rollup";
  return (number_of(kFile, "Pss_Anon:") + number_of(kFile, "Pss_Shmem:")) << 10;
}

size_t available_memory() {
  size_t available = static_cast<size_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  std::ifstream memory("/proc/meminfo");
  for (std::string line; std::getline(memory, line);) {
    if (line.starts_with("MemAvailable:")) available = std::stoull(line.substr(13)) << 10;
  }
  return std::min(available, own_limits().memory);
}

}  // namespace v4rt
