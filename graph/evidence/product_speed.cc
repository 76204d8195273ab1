#include "graph/evidence/product_speed.h"

#include <algorithm>
#include <memory>

#include "backend/kernel_trial.h"
#include "ops/linear/linear.h"
#include "ops/moe/moe.h"

namespace v4rt {
namespace {

constexpr int64_t kWidth = 4096, kChosen = 6, kExperts = 16, kMany = 256;
constexpr double kLongest = 0.25;  // seconds: slower devices run a call once more, and are not asked for many tokens
constexpr int kPasses = 3;

struct Call {
  std::unique_ptr<Op> op;
  std::vector<TensorType> inputs, outputs;
};

Call call_of(const Device& device, DType weight, int64_t rows) {
  const TensorType x{DType::kBF16, Shape{rows, kWidth}};
  const auto laid_out = [&](const Shape& shape) {
    TensorType type{weight, shape};
    type.layout = device.weight_layout(type);
    return type;
  };
  Call call;
  if (weight == DType::kFp4) {
    const TensorType experts = laid_out({kExperts, kWidth / 2, kWidth});
    call.op = std::make_unique<MoeGateUp>(10.0f);
    call.inputs = {x, {DType::kI32, Shape{rows, kChosen}}, {DType::kF32, Shape{rows, kChosen}}, experts, experts};
  } else {
    call.op = std::make_unique<Linear>(DType::kBF16);
    call.inputs = {x, laid_out({4 * kWidth, kWidth})};
  }
  call.outputs = call.op->infer(call.inputs);
  return call;
}

bool has_room(const DeviceInfo& device, const Call& call) {
  size_t all = 0, largest = 0;
  for (const TensorType& type : call.inputs) {
    all += type.bytes() + type.scale_bytes();
    largest = std::max(largest, type.bytes());
  }
  return (device.max_allocation == 0 || largest <= device.max_allocation) &&
         (device.memory == 0 || all <= device.memory / 4);
}

// Of the fastest run after the first, which makes programs and pages that are not there yet; 0 where the device does
// not take it.
double seconds(Device& device, const Call& call) {
  const OpCall op_call{*call.op, call.inputs, call.outputs};
  if (!has_room(device.info(), call) || !device.supports(op_call)) return 0;
  const auto kernel = device.compile(op_call);
  KernelTrial trial(device, op_call);
  (void)trial.seconds(*kernel);
  double best = trial.seconds(*kernel);
  for (int pass = 1; pass < kPasses && best < kLongest; ++pass) best = std::min(best, trial.seconds(*kernel));
  return best;
}

Cost cost(const Call& call, int64_t rows) {
  std::vector<Segment> segments(static_cast<size_t>(rows), Segment{0, 0, 1});
  std::vector<Row> live(segments.size());
  fill_rows(segments, live);
  return call.op->cost(call.inputs, {segments, live});
}

}  // namespace

ProductSpeed measure_products(Device& device, DType weight) {
  const Call one = call_of(device, weight, 1), many = call_of(device, weight, kMany);
  ProductSpeed speed;
  const double of_one = seconds(device, one);
  if (of_one <= 0) return speed;
  speed.gbs = cost(one, 1).weight_bytes / of_one / 1e9;
  speed.gflops = cost(one, 1).flops / of_one / 1e9;
  const double flops = cost(many, kMany).flops;
  if (flops / speed.gflops / 1e9 > 64 * kLongest)
    return speed;  // no faster with many than with one, as far as it is known
  if (const double of_many = seconds(device, many); of_many > 0) speed.gflops = flops / of_many / 1e9;
  return speed;
}

}  // namespace v4rt
