#include "ops/linear/linear.h"

#include "ops/core/exact_sum.h"
#include "ops/infer.h"
#include "ops/ref_context.h"

namespace v4rt {

std::string Linear::describe() const {
  return fmt::format("linear{{{},groups={},heads={}{}}}", info(out).name, groups, heads,
                     rows == LiveRows::kSegments ? ",segments" : "");
}

std::vector<TensorType> Linear::infer(std::span<const TensorType> in) const {
  expect_inputs("linear", in, 2);
  expect_activation("linear", in[0], 2, 3);
  const Shape& x = in[0].shape;
  const Shape& w = in[1].shape;
  check(w.rank() == 2 && w[1] > 0 && x[0] > 0, Code::kInvalidArgument, "linear: no product of {} and {}",
        to_string(in[0]), to_string(in[1]));
  expect_matrix("linear", "weight", in[1], w);
  check(groups >= 1 && w[0] % groups == 0, Code::kInvalidArgument, "linear: {} rows do not divide into {} groups", w[0],
        groups);
  const int64_t row = groups * w[1], tokens = x[0], n = w[0];
  if (heads == 0) {
    check(x[-1] == row, Code::kInvalidArgument, "linear: {} does not match weight {}", to_string(in[0]),
          to_string(in[1]));
    return {{out, x.rank() == 2 ? Shape{tokens, n} : Shape{tokens, x[1], n}}};
  }
  check(x.elements() == tokens * row, Code::kInvalidArgument, "linear: {} does not match weight {}", to_string(in[0]),
        to_string(in[1]));
  if (heads == kFlat) return {{out, Shape{tokens, n}}};
  check(heads > 0 && n % heads == 0, Code::kInvalidArgument, "linear: {} outputs do not divide into {} heads", n,
        heads);
  return {{out, Shape{tokens, heads, n / heads}}};
}

void Linear::reference(RefContext& context) const {
  const Shape& w_shape = context.input(1).shape;
  const int64_t n_out = w_shape[0], k = w_shape[1], per_group = n_out / groups;
  const int64_t rows_live = live_rows(context.step(), rows) * rows_per_token(context.input(0), context.input(1));
  Floats x(static_cast<size_t>(rows_live * groups * k)), w(static_cast<size_t>(k));
  Floats y(static_cast<size_t>(rows_live * n_out));
  context.read(0, 0, x);
  for (int64_t n = 0; n < n_out; ++n) {
    context.read(1, n * k, w);
    const int64_t group = n / per_group;
    for (int64_t t = 0; t < rows_live; ++t) {
      const std::span<const float> row(x.data() + (t * groups + group) * k, static_cast<size_t>(k));
      y[static_cast<size_t>(t * n_out + n)] = dot(row, w);
    }
  }
  context.write(0, 0, y);
}

Cost Linear::work(std::span<const TensorType> in, const Step& step) const {
  const auto live = static_cast<double>(live_rows(step, rows) * rows_per_token(in[0], in[1]));
  const double n = static_cast<double>(in[1].shape[0]), k = static_cast<double>(in[1].shape[1]);
  return {.flops = 2 * live * n * k,
          .io_bytes = live * (k * groups * info(in[0].dtype).bytes_per_element() + n * info(out).bytes_per_element())};
}

}  // namespace v4rt
