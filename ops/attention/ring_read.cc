#include "ops/attention/attention.h"
#include "ops/infer.h"
#include "ops/ref_context.h"

namespace v4rt {

std::string RingRead::describe() const {
  return fmt::format("ring_read{{{},{},m={},back={}}}", format.describe(), info(activation).name, m, back);
}

Input RingRead::input(size_t index) const {
  return index == 1 ? Input{.role = Role::kState, .rows = {.format = format, .back = back}} : Input{};
}

std::vector<TensorType> RingRead::infer(std::span<const TensorType> in) const {
  expect_inputs("ring_read", in, 2);
  check(in[0].dtype == DType::kI32 && in[0].shape.rank() == 1, Code::kInvalidArgument,
        "ring_read: ids are {}, expected i32 [T]", to_string(in[0]));
  const bool whole = format.kind == (activation == DType::kF32 ? RowFormat::Kind::kF32 : RowFormat::Kind::kBF16);
  check(whole && m > 0 && format.dim % m == 0, Code::kInvalidArgument, "ring_read: rows of {} are not {} of {}",
        format.describe(), m, info(activation).name);
  const Shape& ring = in[1].shape;
  check(in[1].dtype == DType::kU8 && ring.rank() == 3 && ring[2] == format.bytes(), Code::kInvalidArgument,
        "ring_read: ring is {}, expected u8 [slots, rows, {}]", to_string(in[1]), format.bytes());
  return {{activation, Shape{in[0].shape[0], m, format.dim / m}}};
}

void RingRead::reference(RefContext& context) const {
  const int64_t rows = context.input(1).shape[1];
  Floats x(static_cast<size_t>(format.dim));
  for (int64_t t = 0; t < context.n_rows(); ++t) {
    const Row& row = context.step().rows[static_cast<size_t>(t)];
    decode_row(format, context.bytes(1) + (row.slot * rows + row.position % rows) * format.bytes(), x);
    context.write(0, t * format.dim, x);
  }
}

Cost RingRead::work(std::span<const TensorType>, const Step& step) const {
  const auto bytes = static_cast<double>(step.n_rows() * format.bytes());
  return {.state_bytes = bytes, .io_bytes = bytes};
}

}  // namespace v4rt
