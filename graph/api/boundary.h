#pragma once

// Shared by the files of the C interface: the handles, and the one place where exceptions are caught.

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
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

v4rt_status to_status(Code code);
v4rt_status report(v4rt_status status, std::string_view message) noexcept;  // sets v4rt_last_error()

// Runs `body`; whatever it throws becomes a status and a message.
template <class F>
v4rt_status guarded(F&& body) noexcept {
  try {
    std::forward<F>(body)();
    return V4RT_OK;
  } catch (const Error& e) {
    return report(to_status(e.code()), e.what());
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

// The caller's options over zeros: his structure may be shorter or longer than ours.
template <class T>
T read_options(const T* options, std::string_view what) {
  T result{};
  if (options == nullptr) return result;
  check(options->struct_size >= sizeof(size_t), Code::kInvalidArgument,
        "{}: struct_size is {}; set it to sizeof the structure", what, options->struct_size);
  std::memcpy(&result, options, std::min(options->struct_size, sizeof(T)));
  return result;
}

// Copies as much of `value` as the caller's structure has room for; its struct_size stays.
template <class T>
void write_result(T value, T* result, std::string_view what) {
  const size_t size = result->struct_size;
  check(size >= sizeof(size_t), Code::kInvalidArgument, "{}: struct_size is {}; set it to sizeof the structure", what,
        size);
  value.struct_size = size;
  std::memcpy(result, &value, std::min(size, sizeof(T)));
}

}  // namespace v4rt::api
