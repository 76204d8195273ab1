#pragma once

// The one exception type of the runtime. Everything that can fail before tokens flow (opening, building, compiling) and
// every bad argument ends here; the C API turns it into a status and a message.

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace v4rt {

enum class Code {
  kInvalidArgument,  // the caller asked for something that makes no sense
  kNotFound,         // a file, a tensor, a device that is not there
  kCorrupt,          // data that contradicts itself or its format
  kUnsupported,      // well formed, but not something this build can do
  kOutOfMemory,
  kDevice,    // a driver or device failed
  kInternal,  // a bug of ours
};

class Error : public std::runtime_error {
 public:
  Error(Code code, const std::string& message) : std::runtime_error(message), code_(code) {}
  Code code() const { return code_; }

 private:
  Code code_;
};

// Throws Error. Messages name the thing, the fact and the way out.
template <class... Args>
[[noreturn]] void fail(Code code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

// Throws Error unless `ok`. The message is formatted only on failure.
template <class... Args>
void check(bool ok, Code code, fmt::format_string<Args...> format, Args&&... args) {
  if (!ok) throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace v4rt
