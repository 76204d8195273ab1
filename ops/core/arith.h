#pragma once

#include <concepts>
#include <type_traits>

namespace v4rt {

// a / b rounded up, for a >= 0 and b > 0. Cannot overflow.
template <std::integral A, std::integral B>
constexpr std::common_type_t<A, B> ceil_div(A a, B b) {
  using T = std::common_type_t<A, B>;
  const T n = static_cast<T>(a), d = static_cast<T>(b);
  return n / d + (n % d != 0 ? 1 : 0);
}

// The least multiple of `multiple` that is not below n >= 0. The caller knows that it can be represented.
template <std::integral A, std::integral B>
constexpr std::common_type_t<A, B> round_up(A n, B multiple) {
  return ceil_div(n, multiple) * static_cast<std::common_type_t<A, B>>(multiple);
}

}  // namespace v4rt
