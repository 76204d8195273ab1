#include "ops/attention/attention.h"
#include "ops/infer.h"
#include "ops/ref_context.h"

namespace v4rt {

static constexpr Alias kRing[] = {{0, 1}};

std::string RingAppend::describe() const { return fmt::format("ring_append{{{}}}", format.describe()); }

Input RingAppend::input(size_t index) const {
  return index == 1 ? Input{.role = Role::kState, .rows = {.format = format, .back = 0}} : Input{};
}

std::vector<TensorType> RingAppend::infer(std::span<const TensorType> in) const {
  expect_inputs("ring_append", in, 2);
  expect_activation("ring_append", in[0], 2, 3);
  check(in[0].shape.elements() == in[0].shape[0] * format.dim, Code::kInvalidArgument,
        "ring_append: rows of {} do not hold {}", format.describe(), to_string(in[0]));
  const Shape& ring = in[1].shape;
  const bool plain = format.kind == RowFormat::Kind::kF32 && in[1].dtype == DType::kF32 && ring[-1] == format.dim;
  check(ring.rank() == 3 && (plain || (in[1].dtype == DType::kU8 && ring[2] == format.bytes())), Code::kInvalidArgument,
        "ring_append: ring is {}, expected u8 [slots, rows, {}]", to_string(in[1]), format.bytes());
  return {in[1]};
}

std::span<const Alias> RingAppend::aliases() const { return kRing; }

void RingAppend::reference(RefContext& context) const {
  const int64_t rows = context.input(1).shape[1];
  Floats x(static_cast<size_t>(format.dim));
  for (int64_t t = 0; t < context.n_rows(); ++t) {
    const Row& row = context.step().rows[static_cast<size_t>(t)];
    if (row.end - t > rows) continue;  // a later row of this segment takes the same place
    context.read(0, t * format.dim, x);
    encode_row(format, x, context.out_bytes(0) + (row.slot * rows + row.position % rows) * format.bytes());
  }
}

Cost RingAppend::work(std::span<const TensorType> in, const Step& step) const {
  return {.state_bytes = static_cast<double>(step.n_rows() * format.bytes()),
          .io_bytes = live_bytes(in[0], step.n_rows())};
}

}  // namespace v4rt
