#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace v4rt {

// What is to be seen of an entry without its key. The first three lines of a key are for people: what it is, the device
// and the driver that it is for.
struct StoredEntry {
  std::string path, what, device, driver;
  std::string problem;  // why it is never used; the texts above may then be empty
  uint64_t bytes = 0;
  std::time_t written = 0;
};

// Bytes on disk by key, one file each, whose names end in `suffix`. An entry is trusted only if its header repeats the
// whole key and its checksum is right: drivers abort on damaged binaries. Files are written under a temporary name, so
// readers see all or nothing.
class BinaryStore {
 public:
  static constexpr std::string_view kPrograms = ".clbin", kTimes = ".times";  // suffixes

  explicit BinaryStore(std::string directory,
                       std::string_view suffix = kPrograms)  // without a directory: keeps nothing
      : directory_(std::move(directory)), suffix_(suffix) {}

  bool keeps() const { return !directory_.empty(); }
  // `problem`, if given: why an existing entry is not used.
  std::optional<std::vector<std::byte>> load(std::string_view key, std::string* problem = nullptr) const;
  void store(std::string_view key, const std::vector<std::byte>& bytes) const;  // a failure is only logged
  std::string path(std::string_view key) const;

  // For an entry whose use may end the process: while it lives, a locked file beside the entry says that this process
  // tries it. The lock goes with the process, the file only with the object.
  class Trial {
   public:
    explicit Trial(const std::string& entry);
    ~Trial();
    Trial(const Trial&) = delete;
    Trial& operator=(const Trial&) = delete;

   private:
    std::string path_;
    int file_ = -1;
  };
  // Removes the entries whose trial a process did not survive, and returns them.
  std::vector<StoredEntry> remove_fatal() const;

 private:
  std::string directory_, suffix_;
};

// Every file that stores have in the directory, entries and what stopped processes left, by device and name.
std::vector<StoredEntry> stored_entries(const std::string& directory);

}  // namespace v4rt
