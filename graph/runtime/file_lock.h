#pragma once

#include <functional>
#include <string>

namespace v4rt {

// A lock file, held by one process (or one thread of it) while the object lives. The file is not removed.
class FileLock {
 public:
  // Waits until the lock is free, calling `waiting` now and then. Throws Error if the file cannot be made.
  FileLock(const std::string& path, const std::function<void()>& waiting);
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  bool held() const { return held_; }  // false on file systems that know no locks

 private:
  struct File {  // so that it is closed if `waiting` throws
    int descriptor;
    ~File();
  };
  File file_;
  bool held_ = false;
};

}  // namespace v4rt
