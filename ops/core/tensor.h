#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>

#include "ops/core/dtype.h"

namespace v4rt {

// Up to four dimensions, row-major, last index fastest.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims);
  explicit Shape(std::span<const int64_t> dims);

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[static_cast<size_t>(i < 0 ? i + rank_ : i)]; }  // [-1] is the last
  int64_t elements() const;  // throws Error(kInvalidArgument) on overflow
  int64_t rows() const;      // elements() / last dimension; 1 for rank 0 and 1
  std::span<const int64_t> dims() const { return {dims_.data(), static_cast<size_t>(rank_)}; }
  bool operator==(const Shape&) const = default;

 private:
  std::array<int64_t, 4> dims_{};
  int rank_ = 0;
};

std::string to_string(const Shape& shape);  // "[128, 512]"

struct TensorType {
  DType dtype = DType::kF32;
  Shape shape;
  Layout layout = Layout::kRows;

  size_t bytes() const;        // of the values plane; checked arithmetic
  size_t scale_bytes() const;  // of the scale plane; 0 when there is none
  bool operator==(const TensorType&) const = default;
};

std::string to_string(const TensorType& type);  // "fp8 [128, 512]", "fp4/rows16 [8, 128, 128]"

class Buffer;
using BufferPtr = std::shared_ptr<Buffer>;

// Memory of one device. host() returns host-visible memory; other memory is reached through a Queue.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual size_t bytes() const = 0;
  virtual std::byte* host() const = 0;  // nullptr when the host cannot address it
  virtual BufferPtr slice(size_t offset,
                          size_t bytes) = 0;  // shares memory; offset a multiple of the device's alignment
};

struct Tensor {
  TensorType type;
  BufferPtr values;
  BufferPtr scales;  // only for quantised types

  template <class T>
  T* data() const {
    return reinterpret_cast<T*>(values->host());
  }
  const uint8_t* scale_data() const { return reinterpret_cast<const uint8_t*>(scales->host()); }
};

}  // namespace v4rt
