#include "graph/runtime/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "ops/core/error.h"

namespace v4rt {

FileLock::FileLock(const std::string& path, const std::function<void()>& waiting)
    : file_{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)} {
  check(file_.descriptor >= 0, Code::kInvalidArgument, "{}: cannot be written: {}; name a folder that can", path,
        std::strerror(errno));
  while (::flock(file_.descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return;
    if (waiting) waiting();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  held_ = true;
}

FileLock::File::~File() {
  if (descriptor >= 0) ::close(descriptor);
}

}  // namespace v4rt
