#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace v4rt {

// New files of one folder. They are written one after the other under temporary names, and get their own by commit();
// whatever has not come so far when the object goes is removed, and so are folders that were made for it.
class PendingFiles {
 public:
  explicit PendingFiles(std::string folder);  // made, with its parents, if it is not there; throws Error naming it
  ~PendingFiles();
  PendingFiles(const PendingFiles&) = delete;
  PendingFiles& operator=(const PendingFiles&) = delete;

  void begin(const std::string& name);  // of the file that append() writes from now on
  void append(std::span<const std::byte> bytes);

  // Removes the files `obsolete` of the folder and gives the new ones their names, in the order of begin().
  void commit(std::span<const std::string> obsolete = {});

 private:
  std::string path(const std::string& name) const;
  std::string temporary(const std::string& name) const;
  void finish();

  std::string folder_;
  std::vector<std::string> made_folders_;
  std::vector<std::string> names_;  // begun and not yet renamed
  int file_ = -1;
};

}  // namespace v4rt
