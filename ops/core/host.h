#pragma once

#include <cstddef>
#include <iosfwd>
#include <string>

namespace v4rt {

// What this process may use of the machine.

// The number of processors to run on at once: those of its affinity, but no more than its control groups give it time
// for, rounded up.
int usable_processors();

// Memory that is free or can be freed, such as pages of files, within the limits of its control groups.
size_t available_memory();

// Bytes of memory that this process takes; a page that it maps twice, or shares with another process, counts once for
// all. Without pages of files, whose share changes with who else maps them. 0: unknown.
size_t process_memory();

// The tightest limits of a process's control groups and those above them, in either version: `groups` is its
// /proc/self/cgroup, `root` where they are mounted. Without a limit, the largest numbers.
struct GroupLimits {
  size_t memory;      // bytes that are free, or used only for pages of files
  double processors;  // of processor time; may be a fraction
};
GroupLimits group_limits(const std::string& root, std::istream& groups);

}  // namespace v4rt
