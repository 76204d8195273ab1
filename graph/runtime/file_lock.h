#pragma once

#include <functional>
#include <string>

namespace v4rt {

// Held by one process (or one thread of it) at a time, while the object lives. The file stays.
class FileLock {
 public:
  // Waits for whoever has it, calling `waiting` now and then. Throws Error when the file cannot be made.
  FileLock(const std::string& path, const std::function<void()>& waiting);
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  bool held() const { return held_; }  // false on file systems that know no locks

 private:
  struct File {  // closed also when waiting ends in an exception
    int descriptor;
    ~File();
  };
  File file_;
  bool held_ = false;
};

}  // namespace v4rt
