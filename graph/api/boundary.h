#pragma once

// Shared by the files of the C interface: the handles, and the one place where exceptions are caught.

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "graph/api/v4rt.h"
#include "graph/runtime/generate.h"
#include "graph/runtime/session.h"
#include "loaders/text/tokenizer.h"
#include "ops/core/error.h"

struct v4rt_model {
  std::shared_ptr<const v4rt::Model> model;
};

struct v4rt_session {
  v4rt::Session session;
};

struct v4rt_snapshot {
  v4rt::Snapshot snapshot;
};

struct v4rt_tokenizer {
  std::shared_ptr<const v4rt::Tokenizer> tokenizer;
};

struct v4rt_sampler {
  v4rt::Sampler sampler;
  size_t vocab_size;
};

namespace v4rt::api {

struct Cancelled : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct Busy : std::runtime_error {
  using std::runtime_error::runtime_error;
};

v4rt_status to_status(Code code);
v4rt_status report(v4rt_status status, std::string_view message) noexcept;  // sets v4rt_last_error()
char* allocated_text(std::string_view text);                                // for v4rt_free

// Runs `body`; whatever it throws becomes a status and a message.
template <class F>
v4rt_status guarded(F&& body) noexcept {
  try {
    std::forward<F>(body)();
    return V4RT_OK;
  } catch (const Error& e) {
    return report(to_status(e.code()), e.what());
  } catch (const Cancelled& e) {
    return report(V4RT_CANCELLED, e.what());
  } catch (const Busy& e) {
    return report(V4RT_BUSY, e.what());
  } catch (const std::bad_alloc&) {
    return report(V4RT_OUT_OF_MEMORY, "out of host memory");
  } catch (const std::exception& e) {
    return report(V4RT_INTERNAL, e.what());
  } catch (...) {
    return report(V4RT_INTERNAL, "unknown exception");
  }
}

inline void require(const void* pointer, std::string_view what) {
  check(pointer != nullptr, Code::kInvalidArgument, "{} is NULL", what);
}

constexpr size_t kLargestStructure = 4096;  // what is larger was not set: nothing is read by such a size

inline void check_size(size_t size, std::string_view what) {
  check(size >= sizeof(size_t) && size <= kLargestStructure, Code::kInvalidArgument,
        "{}: struct_size is {}; set it to sizeof the structure", what, size);
}

inline void check_flag(int32_t value, std::string_view what) {
  check(value == 0 || value == 1, Code::kInvalidArgument, "{} is {}; it is 0 or 1", what, value);
}

inline void check_reserved(int32_t value, std::string_view what) {
  check(value == 0, Code::kUnsupported, "{}.reserved is {}; leave it 0", what, value);
}

// What a callback of the caller returned: 0 stops.
inline void go_on(int answer, std::string_view what) {
  if (answer == 0) throw Cancelled(fmt::format("{}: stopped by the caller", what));
}

// The caller's options over zeros. His structure may be shorter than ours, or longer: what we do not know must be zero.
template <class T>
T read_options(const T* options, std::string_view what) {
  T result{};
  if (options == nullptr) return result;
  check_size(options->struct_size, what);
  const std::span bytes(reinterpret_cast<const std::byte*>(options), options->struct_size);
  for (size_t i = sizeof(T); i < bytes.size(); ++i) {
    check(bytes[i] == std::byte{0}, Code::kUnsupported,
          "{}: byte {} is set, and version {} of the library knows {} bytes; leave newer fields zero, or use a newer "
          "library",
          what, i, v4rt_version(), sizeof(T));
  }
  std::memcpy(&result, options, std::min(bytes.size(), sizeof(T)));
  return result;
}

// Copies as much of `value` as the caller's structure has room for; its struct_size stays.
template <class T>
void write_result(T value, T* result, std::string_view what) {
  const size_t size = result->struct_size;
  check_size(size, what);
  value.struct_size = size;
  std::memcpy(result, &value, std::min(size, sizeof(T)));
}

class HostFilter;
struct GivenSampler {
  SamplerOptions options;
  std::shared_ptr<HostFilter> filter = {};  // in it, if there is one
};
GivenSampler read_sampler(const v4rt_sampler_options* options, int64_t vocab_size);
void write_generated(const GenerateResult& done, v4rt_stop stop, v4rt_generate_result* result);
v4rt_stop to_stop(StopReason reason);

}  // namespace v4rt::api
