#include "graph/api/boundary.h"

#include <cstdlib>
#include <functional>
#include <string>

#include "ops/core/log.h"

namespace v4rt::api {
namespace {

thread_local std::string last_error;  // NOLINT: the C interface's message is per thread by contract

}  // namespace

v4rt_status to_status(Code code) {
  switch (code) {
    case Code::kInvalidArgument: return V4RT_INVALID_ARGUMENT;
    case Code::kNotFound: return V4RT_NOT_FOUND;
    case Code::kCorrupt: return V4RT_CORRUPT;
    case Code::kUnsupported: return V4RT_UNSUPPORTED;
    case Code::kOutOfMemory: return V4RT_OUT_OF_MEMORY;
    case Code::kDevice: return V4RT_DEVICE;
    case Code::kInternal: return V4RT_INTERNAL;
  }
  return V4RT_INTERNAL;
}

v4rt_status report(v4rt_status status, std::string_view message) noexcept {
  try {
    last_error = message;
  } catch (...) {
    last_error.clear();  // no memory for the message: the status still says what happened
  }
  return status;
}

char* allocated_text(std::string_view text) {
  char* copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy == nullptr) throw std::bad_alloc();
  *std::copy(text.begin(), text.end(), copy) = '\0';
  return copy;
}

}  // namespace v4rt::api

const char* v4rt_last_error(void) { return v4rt::api::last_error.c_str(); }

#define V4RT_TEXT(x) #x
#define V4RT_JOINED(major, minor, patch) V4RT_TEXT(major) "." V4RT_TEXT(minor) "." V4RT_TEXT(patch)

const char* v4rt_version(void) { return V4RT_JOINED(V4RT_VERSION_MAJOR, V4RT_VERSION_MINOR, V4RT_VERSION_PATCH); }

void v4rt_free(void* allocated) { std::free(allocated); }

v4rt_status v4rt_log_to(void (*write)(int level, const char* message, void* user), void* user, int level) {
  namespace log = v4rt::log;
  return v4rt::api::guarded([&] {
    v4rt::check(level >= V4RT_LOG_DEBUG && level <= V4RT_LOG_ERROR, v4rt::Code::kInvalidArgument,
                "v4rt_log_to: level is {}; it is a v4rt_log_level", level);
    std::function<void(log::Level, std::string_view)> sink;
    if (write != nullptr) {
      sink = [write, user](log::Level of, std::string_view message) {
        write(static_cast<int>(of), std::string(message).c_str(), user);
      };
    }
    log::set_sink(std::move(sink));
    log::set_level(static_cast<log::Level>(level));
  });
}

const char* v4rt_status_name(int status) {
  switch (status) {
    case V4RT_OK: return "ok";
    case V4RT_INVALID_ARGUMENT: return "invalid argument";
    case V4RT_NOT_FOUND: return "not found";
    case V4RT_CORRUPT: return "corrupt";
    case V4RT_UNSUPPORTED: return "unsupported";
    case V4RT_OUT_OF_MEMORY: return "out of memory";
    case V4RT_DEVICE: return "device failed";
    case V4RT_INTERNAL: return "internal error";
    case V4RT_CANCELLED: return "cancelled";
    case V4RT_BUSY: return "busy";
  }
  return "unknown status";
}
