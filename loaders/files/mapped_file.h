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
  int64_t modified() const { return modified_; }  // when the file was opened: nanoseconds since 1970
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
  int64_t modified_ = 0;
  std::span<const std::byte> bytes_;
};

}  // namespace v4rt
