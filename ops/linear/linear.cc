#include "ops/linear/linear.h"

#include "ops/core/exact_sum.h"
#include "ops/infer.h"
#include "ops/ref_context.h"

namespace v4rt {

std::string Linear::describe() const {
  return fmt::format("linear{{{},groups={}{}}}", info(out).name, groups, rows == LiveRows::kSegments ? ",segments" : "");
}

std::vector<TensorType> Linear::infer(std::span<const TensorType> in) const {
  expect_inputs("linear", in, 2);
  expect_activation("linear", in[0], 2, 3);
  const Shape& x = in[0].shape;
  const Shape& w = in[1].shape;
  check(w.rank() == 2 && groups >= 1 && w[0] % groups == 0, Code::kInvalidArgument,
        "linear: weight {} cannot be split into {} groups of rows", to_string(in[1]), groups);
  check(groups == 1 || x.rank() == 2, Code::kInvalidArgument, "linear: grouped input must be [T, groups * K], not {}", to_string(in[0]));
  expect_matrix("linear", "weight", in[1], Shape{w[0], x[-1] / groups});
  check(x[-1] % groups == 0, Code::kInvalidArgument, "linear: {} columns do not divide into {} groups", x[-1], groups);
  return {{out, x.rank() == 2 ? Shape{x[0], w[0]} : Shape{x[0], x[1], w[0]}}};
}

void Linear::reference(RefContext& context) const {
  const Shape& w_shape = context.input(1).shape;
  const int64_t n_out = w_shape[0], k = w_shape[1], per_group = n_out / groups;
  const Shape& x_shape = context.input(0).shape;
  const int64_t rows_live = live_rows(context.step(), rows) * (x_shape.rank() == 3 ? x_shape[1] : 1);
  const auto block = static_cast<size_t>(info(context.input(1).dtype).dot_block);
  std::vector<float> x(static_cast<size_t>(rows_live * groups * k)), w(static_cast<size_t>(k));
  std::vector<float> y(static_cast<size_t>(rows_live * n_out));
  context.read(0, 0, x);
  for (int64_t n = 0; n < n_out; ++n) {
    context.read(1, n * k, w);
    const int64_t group = n / per_group;
    for (int64_t t = 0; t < rows_live; ++t) {
      const std::span<const float> row(x.data() + (t * groups + group) * k, static_cast<size_t>(k));
      y[static_cast<size_t>(t * n_out + n)] = dot(row, w, block);
    }
  }
  context.write(0, 0, y);
}

Cost Linear::cost(std::span<const TensorType> in, const Step& step) const {
  const double live = live_rows(step, rows) * (in[0].shape.rank() == 3 ? static_cast<double>(in[0].shape[1]) : 1.0);
  const double n = static_cast<double>(in[1].shape[0]), k = static_cast<double>(in[1].shape[1]);
  return {.flops = 2 * live * n * k,
          .weight_bytes = total_bytes(in[1]),
          .io_bytes = live * (k * groups * info(in[0].dtype).bits + n * info(out).bits) / 8};
}

}  // namespace v4rt
