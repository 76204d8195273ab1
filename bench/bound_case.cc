#include "bench/bound_case.h"

namespace v4rt {

BoundCase::BoundCase(std::shared_ptr<Device> device, const Case& c, const CaseData& data, size_t copies)
    : device_(std::move(device)),
      case_(c),
      queue_(device_->create_queue()),
      rows_(static_cast<size_t>(n_tokens(c))),
      args_(copies) {
  fill_rows(case_.segments, rows_);
  step_ = {case_.segments, rows_};
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const HostTensor host = input_for(*device_, c, data, i);
    inputs_.push_back(host.type);
    for (std::vector<Tensor>& args : args_) args.push_back(upload(host));
  }
  outputs_ = c.op->infer(inputs_);
  const OpCall call{*case_.op, inputs_, outputs_};
  const Support support = device_->supports(call);
  check(static_cast<bool>(support), Code::kUnsupported, "refused: {}", support.reason);
  kernel_ = device_->compile(call);
  for (std::vector<Tensor>& args : args_) add_outputs(args);
  cost_ = case_.op->cost(inputs_, step_);
  queue_->begin(step_);
}

void BoundCase::add_outputs(std::vector<Tensor>& args) {
  for (size_t o = 0; o < outputs_.size(); ++o) {
    Tensor tensor{};
    for (const Alias& alias : case_.op->aliases()) {
      if (alias.output == static_cast<int>(o)) tensor = args[static_cast<size_t>(alias.input)];
    }
    args.push_back(tensor.values != nullptr ? tensor : allocate(outputs_[o]));
  }
  if (kernel_->scratch_bytes > 0)
    args.push_back(allocate({DType::kU8, Shape{static_cast<int64_t>(kernel_->scratch_bytes)}}));
}

void BoundCase::run() {
  queue_->launch(*kernel_, args_[next_], step_);
  queue_->finish();
  next_ = (next_ + 1) % args_.size();
}

Tensor BoundCase::allocate(const TensorType& type) {
  const auto memory = [&](size_t bytes) -> BufferPtr {
    if (bytes == 0) return nullptr;
    BufferPtr buffer = device_->allocate(bytes);
    queue_->fill(*buffer, kPoison);
    return buffer;
  };
  return {type, memory(type.bytes()), memory(type.scale_bytes())};
}

Tensor BoundCase::upload(const HostTensor& host) {
  Tensor tensor = allocate(host.type);
  queue_->upload(*tensor.values, 0, host.values);
  if (tensor.scales != nullptr) queue_->upload(*tensor.scales, 0, host.scales);
  return tensor;
}

}  // namespace v4rt
