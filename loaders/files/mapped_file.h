#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace v4rt {

// A file mapped read-only; the mapping lives as long as the last shared_ptr. Safe to share between threads.
class MappedFile {
 public:
  enum class Advice : uint8_t {
    kWillNeed,  // start reading every page that the range touches
    kDontNeed,  // drop the pages that lie wholly inside the range; they are read again when touched
  };

  // Throws Error naming the path: missing, not a plain file, empty, unreadable.
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  // What told the file apart when it was opened: its number on its disk, and when anything of it was changed last, in
  // nanoseconds since 1970; programs set the time of modification, but not this one.
  uint64_t inode() const { return inode_; }
  int64_t changed() const { return changed_; }
  bool contains(std::span<const std::byte> range) const;

  // A hint: `range` must lie inside bytes(), and failure is of no consequence.
  void advise(std::span<const std::byte> range, Advice advice) const;

  // Throws Error if the file became shorter than its mapping: reading the lost pages would end the process (SIGBUS).
  void check_intact() const;

 private:
  MappedFile(std::string path, int descriptor, std::span<const std::byte> bytes)
      : path_(std::move(path)), descriptor_(descriptor), bytes_(bytes) {}

  std::string path_;
  int descriptor_;
  uint64_t inode_ = 0;
  int64_t changed_ = 0;
  std::span<const std::byte> bytes_;
};

}  // namespace v4rt
