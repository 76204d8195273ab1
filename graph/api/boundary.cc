#include "graph/api/boundary.h"

#include <string>

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

}  // namespace v4rt::api

const char* v4rt_last_error(void) { return v4rt::api::last_error.c_str(); }

const char* v4rt_version(void) { return V4RT_VERSION; }

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
  }
  return "unknown status";
}
