#include "ops/basic/basic.h"

#include "ops/infer.h"
#include "ops/ref_context.h"

namespace v4rt {

std::string EmbedRows::describe() const {
  return fmt::format("embed_rows{{{},copies={}}}", info(activation).name, copies);
}

std::vector<TensorType> EmbedRows::infer(std::span<const TensorType> in) const {
  expect_inputs("embed_rows", in, 2);
  check(in[0].dtype == DType::kI32 && in[0].shape.rank() == 1, Code::kInvalidArgument,
        "embed_rows: ids are {}, expected i32 [T]", to_string(in[0]));
  check(is_activation(in[1].dtype) && in[1].shape.rank() == 2, Code::kInvalidArgument,
        "embed_rows: table is {}, expected bf16 or f32 [V, d]", to_string(in[1]));
  const int64_t tokens = in[0].shape[0], d = in[1].shape[1];
  return {{activation, copies == 0 ? Shape{tokens, d} : Shape{tokens, copies, d}}};
}

void EmbedRows::reference(RefContext& context) const {
  const int64_t d = context.input(1).shape[1], repeats = copies == 0 ? 1 : copies;
  Floats row(static_cast<size_t>(d));
  for (int64_t t = 0; t < context.n_rows(); ++t) {
    context.read(1, context.ids(0)[t] * d, row);
    for (int64_t j = 0; j < repeats; ++j) context.write(0, (t * repeats + j) * d, row);
  }
}

Cost EmbedRows::work(std::span<const TensorType> in, const Step& step) const {
  const double rows = step.n_rows(), d = static_cast<double>(in[1].shape[1]);
  const double width = d * info(activation).bytes_per_element();
  return {.io_bytes = rows * width * (copies == 0 ? 1 : copies)};
}

std::string TakeLast::describe() const { return fmt::format("take_last{{segments={}}}", segments); }

std::vector<TensorType> TakeLast::infer(std::span<const TensorType> in) const {
  expect_inputs("take_last", in, 1);
  expect_activation("take_last", in[0]);
  std::vector<int64_t> dims(in[0].shape.dims().begin(), in[0].shape.dims().end());
  dims[0] = segments;
  return {{in[0].dtype, Shape(dims)}};
}

void TakeLast::reference(RefContext& context) const {
  const int64_t width = context.input(0).shape.elements() / context.input(0).shape[0];
  Floats row(static_cast<size_t>(width));
  int64_t end = 0;
  for (int64_t s = 0; s < context.step().n_segments(); ++s) {
    end += context.step().segments[static_cast<size_t>(s)].n_tokens;
    context.read(0, (end - 1) * width, row);
    context.write(0, s * width, row);
  }
}

Cost TakeLast::work(std::span<const TensorType> in, const Step& step) const {
  return {.io_bytes = 2 * live_bytes(in[0], step.n_segments())};
}

std::string AddStreams::describe() const { return "add_streams"; }

std::vector<TensorType> AddStreams::infer(std::span<const TensorType> in) const {
  expect_inputs("add_streams", in, 2);
  expect_activation("add_streams", in[1], 3, 3);
  expect_type("add_streams", "x", in[0], {in[1].dtype, Shape{in[1].shape[0], in[1].shape[2]}});
  return {in[1]};
}

void AddStreams::reference(RefContext& context) const {
  const Shape& shape = context.input(1).shape;
  const int64_t m = shape[1], d = shape[2];
  Floats x(static_cast<size_t>(d)), s(x.size());
  for (int64_t t = 0; t < context.n_rows(); ++t) {
    context.read(0, t * d, x);
    for (int64_t j = 0; j < m; ++j) {
      context.read(1, (t * m + j) * d, s);
      for (size_t c = 0; c < x.size(); ++c) s[c] = x[c] + s[c];
      context.write(0, (t * m + j) * d, s);
    }
  }
}

Cost AddStreams::work(std::span<const TensorType> in, const Step& step) const {
  return {.io_bytes = live_bytes(in[0], step.n_rows()) + 2 * live_bytes(in[1], step.n_rows())};
}

}  // namespace v4rt
