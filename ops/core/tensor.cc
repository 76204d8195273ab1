#include "ops/core/tensor.h"

#include <algorithm>

#include "ops/core/arith.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

int64_t times(int64_t a, int64_t b, const Shape& shape) {
  int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product))
    fail(Code::kInvalidArgument, "shape {} has too many elements", to_string(shape));
  return product;
}

// The last two dimensions as a matrix [n, k], and how many of them there are.
struct Matrices {
  int64_t count, n, k;
};

Matrices matrices(const Shape& shape) {
  Matrices m{1, shape.rank() >= 2 ? shape[-2] : 1, shape.rank() >= 1 ? shape[-1] : 1};
  for (int i = 0; i + 2 < shape.rank(); ++i) m.count = times(m.count, shape[i], shape);
  return m;
}

}  // namespace

Shape::Shape(std::initializer_list<int64_t> dims) : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  check(dims.size() <= dims_.size(), Code::kInvalidArgument, "a shape has at most {} dimensions, not {}", dims_.size(),
        dims.size());
  for (int64_t d : dims) check(d >= 0, Code::kInvalidArgument, "a dimension cannot be {}", d);
  std::copy(dims.begin(), dims.end(), dims_.begin());
}

int64_t Shape::elements() const {
  int64_t product = 1;
  for (int64_t d : dims()) product = times(product, d, *this);
  return product;
}

int64_t Shape::rows() const {
  int64_t product = 1;
  for (int i = 0; i + 1 < rank_; ++i) product = times(product, dims_[static_cast<size_t>(i)], *this);
  return product;
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape.dims(), ", ")); }

size_t TensorType::bytes() const {
  const int64_t row_bytes = info(dtype).row_bytes(shape.rank() == 0 ? 1 : shape[-1]);
  if (layout == Layout::kRows16) {
    const Matrices m = matrices(shape);
    const int64_t groups = times(m.count, ceil_div(m.n, 16), shape);
    return static_cast<size_t>(times(times(groups, ceil_div(row_bytes, 4), shape), 64, shape));
  }
  if (layout == Layout::kDense) {
    const Matrices m = matrices(shape);
    const int64_t rows = times(m.count, times(ceil_div(m.n, 16), 16, shape), shape);
    return static_cast<size_t>(times(rows, times(ceil_div(m.k, 16), 64, shape), shape));
  }
  return static_cast<size_t>(times(shape.rows(), row_bytes, shape));
}

size_t TensorType::scale_bytes() const {
  const DTypeInfo& t = info(dtype);
  if (t.scales != Scales::kPlane || layout == Layout::kDense) return 0;
  const Matrices m = matrices(shape);
  const bool padded = layout == Layout::kRows16 && t.scale_rows == 1;
  const int64_t rows = padded ? ceil_div(m.n, 16) * 16 : ceil_div(m.n, t.scale_rows);
  return static_cast<size_t>(times(times(m.count, rows, shape), ceil_div(m.k, t.scale_cols), shape));
}

std::string to_string(const TensorType& type) {
  const std::string layout = type.layout == Layout::kRows ? "" : fmt::format("/{}", name(type.layout));
  return fmt::format("{}{} {}", info(type.dtype).name, layout, to_string(type.shape));
}

}  // namespace v4rt
