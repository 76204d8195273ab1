#pragma once

// Arrays come in as any object that DLPack or the buffer protocol can hand over without a copy, and go out as NumPy
// arrays of their own.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <v4rt.hpp>
#include <vector>

namespace v4rt_python {

namespace nb = nanobind;

template <class T>
using Given = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Ids = Given<int32_t>;
using Logits = Given<float>;
using Bytes = Given<uint8_t>;

template <class T>
std::span<const T> span(const Given<T>& array) {
  return {array.data(), array.size()};
}

template <class T>
auto owned_array(std::unique_ptr<T[]> values, std::initializer_list<size_t> shape) {
  T* data = values.get();
  nb::capsule owner(values.release(), [](void* p) noexcept { delete[] static_cast<T*>(p); });
  return nb::ndarray<nb::numpy, T>(data, shape.size(), shape.begin(), owner);
}

template <class T>
auto copied(std::span<const T> values) {
  auto copy = std::make_unique_for_overwrite<T[]>(values.size());
  std::copy(values.begin(), values.end(), copy.get());
  return owned_array(std::move(copy), {values.size()});
}

inline nb::bytes bytes(std::string_view text) { return nb::bytes(text.data(), text.size()); }

using Logprobs = std::vector<std::pair<int32_t, float>>;

inline Logprobs pairs(std::span<const v4rt_token_logprob> logprobs) {
  Logprobs all;
  for (const v4rt_token_logprob& one : logprobs) all.emplace_back(one.id, one.logprob);
  return all;
}

void add_engine(nb::module_& m);  // engine.cc

}  // namespace v4rt_python
