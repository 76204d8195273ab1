#include "graph/runtime/program.h"

namespace v4rt {
namespace {

// Rows beyond the live ones are zero: valid ids for kernels that read them; nobody uses the results.
Tensor io_tensor(const Plan& plan, const Slot& slot, std::span<const std::unique_ptr<Queue>> queues) {
  const auto device = static_cast<size_t>(slot.device);
  Tensor tensor{.type = slot.type, .values = plan.devices[device]->allocate(slot.type.bytes()), .scales = nullptr};
  queues[device]->fill(*tensor.values, std::byte{0});
  if (slot.type.scale_bytes() > 0) tensor.scales = plan.devices[device]->allocate(slot.type.scale_bytes());
  return tensor;
}

Bindings with_io(const Plan& plan, const Bindings& bindings) {
  Bindings all = bindings;
  all.tensor = [&plan, &bindings](const Slot& slot) {
    return slot.storage == Storage::kIo ? io_tensor(plan, slot, bindings.queues) : bindings.tensor(slot);
  };
  return all;
}

}  // namespace

Program::Program(const Plan& plan, const Bindings& bindings)
    : plan_(plan), queues_(bindings.queues), executor_(plan, with_io(plan, bindings)) {}

void Program::write(std::string_view input, std::span<const int32_t> values) {
  for (const auto& [name, slot] : plan_.inputs) {
    if (name != input) continue;
    const auto device = static_cast<size_t>(plan_.slots[static_cast<size_t>(slot)].device);
    queues_[device]->upload(*executor_.tensor(slot).values, 0, std::as_bytes(values));
  }
}

void Program::read(std::string_view output, std::span<float> values) {
  for (const auto& [name, slot] : plan_.outputs) {
    if (name != output) continue;
    const auto device = static_cast<size_t>(plan_.slots[static_cast<size_t>(slot)].device);
    queues_[device]->download(std::as_writable_bytes(values), *executor_.tensor(slot).values, 0);
  }
}

}  // namespace v4rt
