#pragma once

// What the types of v4rt.hpp have in common: the exception, and how handles and callbacks cross the C interface.

#include <v4rt.h>

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace v4rt {
inline namespace api0 {  // the library has types of the same names inside

class Error : public std::runtime_error {
 public:
  Error(v4rt_status status, const char* message) : std::runtime_error(message), status_(status) {}
  v4rt_status status() const { return status_; }

 private:
  v4rt_status status_;
};

namespace detail {

inline void check(v4rt_status status) {
  if (status != V4RT_OK) throw Error(status, v4rt_last_error());
}

template <auto Close>
struct Closer {
  template <class T>
  void operator()(T* handle) const {
    Close(handle);
  }
};
template <class T, auto Close>
using Handle = std::unique_ptr<T, Closer<Close>>;

inline std::string take(char* text) {
  const Handle<char, v4rt_free> owner(text);
  return text;
}

// A callback for C: `call` is C's answer, and check() throws what the callback threw.
template <class F>
class Callback {
 public:
  explicit Callback(F& function) : function_(function) {}

  template <class... Args>
  int call(Args&&... args) noexcept {
    try {
      if constexpr (std::is_void_v<std::invoke_result_t<F&, Args...>>) {
        function_(std::forward<Args>(args)...);
        return 1;
      } else {
        return function_(std::forward<Args>(args)...) ? 1 : 0;
      }
    } catch (...) {
      thrown_ = std::current_exception();
      return 0;
    }
  }

  void rethrow() {
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
  }
  void check(v4rt_status status) {
    rethrow();
    detail::check(status);
  }

 private:
  F& function_;
  std::exception_ptr thrown_;
};

}  // namespace detail

}  // namespace api0
}  // namespace v4rt
