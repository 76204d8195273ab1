#include "backend/kernel_trial.h"

#include <algorithm>
#include <chrono>

#include "ops/core/arith.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

constexpr int64_t kMostRows = 512, kMostExperts = 16;
constexpr size_t kMostMatrixBytes = size_t{64} << 20;

TensorType with_leading(TensorType type, int64_t n) {
  std::vector<int64_t> dims(type.shape.dims().begin(), type.shape.dims().end());
  dims[0] = n;
  type.shape = Shape(dims);
  return type;
}

// Halves the rows of a matrix while they take too much memory, as long as the op stays valid.
TensorType smaller_matrix(const OpCall& call, std::vector<TensorType> inputs, size_t at) {
  TensorType matrix = inputs[at];
  while (matrix.bytes() > kMostMatrixBytes && matrix.shape[0] % 2 == 0) {
    inputs[at] = with_leading(matrix, matrix.shape[0] / 2);
    try {
      (void)call.op.infer(inputs);
    } catch (const Error&) {
      break;
    }
    matrix = inputs[at];
  }
  return matrix;
}

// The experts that each row of ids [rows, chosen] picks: all equally often; no row picks one twice.
std::vector<int32_t> picks(const Shape& ids, int64_t experts) {
  std::vector<int32_t> list(static_cast<size_t>(ids.elements()));
  for (size_t i = 0; i < list.size(); ++i) list[i] = static_cast<int32_t>(static_cast<int64_t>(i) % experts);
  return list;
}

}  // namespace

SampleCall sample_of(const OpCall& call) {
  SampleCall sample{.inputs = {call.inputs.begin(), call.inputs.end()}, .outputs = {}, .text = {}};
  int64_t rows = call.inputs[0].shape[0];
  std::string weight;
  for (size_t i = 0; i < sample.inputs.size(); ++i) {
    TensorType& type = sample.inputs[i];
    const Input input = call.op.input(i);
    if (input.role == Role::kExperts) {
      const int64_t all = call.inputs[i].shape[0], chosen = call.inputs[static_cast<size_t>(input.ids)].shape[1];
      const int64_t some = std::min(all, std::max(kMostExperts, chosen));
      type = with_leading(type, some);
      rows = std::min(rows, std::max<int64_t>(2, ceil_div(call.inputs[0].shape[0] * some, all)));
    } else if (input.role == Role::kMatrix) {
      type = smaller_matrix(call, sample.inputs, i);
    } else {
      continue;
    }
    weight = to_string(type);
  }
  rows = std::min(rows, kMostRows);
  for (size_t i = 0; i < sample.inputs.size(); ++i) {
    if (call.op.input(i).role == Role::kActivation) sample.inputs[i] = with_leading(sample.inputs[i], rows);
  }
  sample.outputs = call.op.infer(sample.inputs);
  sample.text = fmt::format("{} {} x {}", name(call.op.kind()), to_string(sample.inputs[0]), weight);
  return sample;
}

KernelTrial::KernelTrial(Device& device, const OpCall& call) : device_(device), queue_(device.create_queue()) {
  for (const TensorType& type : call.inputs) args_.push_back(allocate(type));
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    const Input input = call.op.input(i);
    if (input.ids < 0) continue;
    const auto ids = static_cast<size_t>(input.ids);
    const std::vector<int32_t> list = picks(call.inputs[ids].shape, call.inputs[i].shape[0]);
    queue_->upload(*args_[ids].values, 0, std::as_bytes(std::span(list)));
  }
  for (const TensorType& type : call.outputs) args_.push_back(allocate(type));
  // As many sequences as rows, so that ops that take one row of each sequence find as many.
  const auto rows = static_cast<int32_t>(call.inputs[0].shape[0]);
  for (int32_t i = 0; i < rows; ++i) segments_.push_back({i, 0, 1});
  rows_.resize(static_cast<size_t>(rows));
  fill_rows(segments_, rows_);
  queue_->begin({segments_, rows_});
}

// Every byte 0x38: an ordinary number in each type, 1 in FP8 and FP4. Scales are 1.
Tensor KernelTrial::allocate(const TensorType& type) {
  const auto memory = [&](size_t bytes) -> BufferPtr {
    if (bytes == 0) return nullptr;
    BufferPtr buffer = device_.allocate(bytes);
    queue_->fill(*buffer, std::byte{0x38});
    return buffer;
  };
  Tensor tensor{type, memory(type.bytes()), memory(type.scale_bytes())};
  if (tensor.scales != nullptr) queue_->fill(*tensor.scales, std::byte{127});  // 1
  return tensor;
}

double KernelTrial::seconds(const Kernel& kernel) {
  std::vector<Tensor> args = args_;
  if (kernel.scratch_bytes > 0)
    args.push_back(allocate({DType::kU8, Shape{static_cast<int64_t>(kernel.scratch_bytes)}}));
  queue_->finish();
  const auto begin = std::chrono::steady_clock::now();
  queue_->launch(kernel, args, {segments_, rows_});
  queue_->finish();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace v4rt
