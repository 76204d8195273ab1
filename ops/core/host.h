#pragma once

#include <cstddef>
#include <filesystem>
#include <iosfwd>

namespace v4rt {

// What the machine lets this process have.

// Processors to run on at once: those of its affinity, and no more than its control groups give it time for, rounded
// up.
int usable_processors();

// For pages of files too: what is free or can be made free, within the limits of its control groups.
size_t available_memory();

// The least that control groups and those above them leave to a process, of either version: `groups` is its
// /proc/self/cgroup, `root` where they are mounted. The largest numbers where there is no limit.
struct GroupLimits {
  size_t memory;      // bytes that are not in use, or only by pages of files
  double processors;  // of time; half of one is possible
};
GroupLimits group_limits(const std::filesystem::path& root, std::istream& groups);

}  // namespace v4rt
