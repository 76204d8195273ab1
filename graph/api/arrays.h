#pragma once

// Arrays of the C interface, in and out.

#include <algorithm>
#include <string_view>
#include <vector>

#include "graph/api/boundary.h"

namespace v4rt::api {

// The caller's array of structures, each over zeros: they are as long as he knows them.
template <class T>
std::vector<T> read_array(const T* array, size_t n, std::string_view what) {
  std::vector<T> all;
  if (n == 0) return all;
  check(array != nullptr, Code::kInvalidArgument, "{}: the array is NULL", what);
  const size_t stride = array->struct_size;
  for (size_t i = 0; i < n; ++i) {
    all.push_back(
        read_options(reinterpret_cast<const T*>(reinterpret_cast<const std::byte*>(array) + i * stride), what));
    check(all.back().struct_size == stride, Code::kInvalidArgument,
          "{}: struct_size of element {} is {}, that of the first one {}", what, i, all.back().struct_size, stride);
  }
  return all;
}

// As many of `values` as there are, if there is room; with no array at all they are only counted.
template <class T>
void write_array(const T& values, typename T::value_type* out, size_t capacity, size_t* n, std::string_view what) {
  *n = values.size();
  if (out == nullptr && capacity == 0) return;
  require(out, what);
  check(capacity >= values.size(), Code::kInvalidArgument, "{}: {} are needed, there is room for {}", what,
        values.size(), capacity);
  std::copy(values.begin(), values.end(), out);
}

}  // namespace v4rt::api
