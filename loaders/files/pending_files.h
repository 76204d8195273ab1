#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace v4rt {

// New files in one folder, written one after the other under temporary names until commit() renames them. The
// destructor removes files that have not been committed, and folders that were made for them.
class PendingFiles {
 public:
  // kYes: files are on the disk before they get their names, so that a machine that stops leaves whole ones.
  enum class Sync : uint8_t { kYes, kNo };

  // The folder is made with its parents if necessary; throws Error naming it.
  explicit PendingFiles(std::string folder, Sync sync = Sync::kYes);
  ~PendingFiles();
  PendingFiles(const PendingFiles&) = delete;
  PendingFiles& operator=(const PendingFiles&) = delete;

  void begin(const std::string& name);  // starts the file that append() writes to
  void append(std::span<const std::byte> bytes);

  // Removes the files `obsolete` of the folder and gives the new ones their names, in the order of begin().
  void commit(std::span<const std::string> obsolete = {});

 private:
  std::string path(const std::string& name) const;
  std::string temporary(const std::string& name) const;
  void finish();

  std::string folder_;
  Sync sync_;
  std::vector<std::string> made_folders_;
  std::vector<std::string> names_;  // begun and not yet renamed
  int file_ = -1;
};

}  // namespace v4rt
