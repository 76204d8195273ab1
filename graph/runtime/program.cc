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

void check_fits(std::string_view name, size_t bytes, const Buffer& memory) {
  check(bytes <= memory.bytes(), Code::kInvalidArgument, "{} has {} bytes, not {}", name, memory.bytes(), bytes);
}

}  // namespace

Program::Program(const Plan& plan, const Bindings& bindings)
    : plan_(plan), queues_(bindings.queues), executor_(plan, with_io(plan, bindings)) {}

Program::Place Program::place(SlotId slot) const {
  return {executor_.tensor(slot).values.get(), static_cast<size_t>(plan_.slots[static_cast<size_t>(slot)].device)};
}

SlotId Program::output_slot(std::string_view name) const {
  for (const auto& [known, slot] : plan_.outputs) {
    if (known == name) return slot;
  }
  fail(Code::kInvalidArgument, "this plan has no output {}", name);
}

Program::Place Program::output(std::string_view name) const { return place(output_slot(name)); }

const Tensor& Program::tensor(std::string_view output) const { return executor_.tensor(output_slot(output)); }

void Program::write(std::string_view input, std::span<const std::byte> values) {
  bool known = false;
  for (const auto& [name, slot] : plan_.inputs) {
    if (name != input) continue;
    const Place to = place(slot);
    check_fits(name, values.size(), *to.memory);
    queues_[to.device]->upload(*to.memory, 0, values);
    known = true;
  }
  check(known, Code::kInvalidArgument, "this plan has no input {}", input);
}

void Program::read(std::string_view name, std::span<std::byte> values) {
  const Place from = output(name);
  check_fits(name, values.size(), *from.memory);
  queues_[from.device]->download(values, *from.memory, 0);
}

Buffer& Program::input(std::string_view name, size_t device) const {
  Buffer* memory = nullptr;
  for (const auto& [input, slot] : plan_.inputs) {
    if (input != name) continue;
    const Place at = place(slot);
    check(at.device == device, Code::kUnsupported, "{} are read on {} too, not on {} alone: place all there that does",
          name, plan_.devices[at.device]->info().name, plan_.devices[device]->info().name);
    memory = at.memory;
  }
  check(memory != nullptr, Code::kInvalidArgument, "this plan has no input {}", name);
  return *memory;
}

void Program::take(std::string_view name, const Program& from, size_t bytes) {
  const Place source = from.output(name);
  for (const auto& [input, slot] : plan_.inputs) {
    if (input != name) continue;
    const Place to = place(slot);
    if (source.device == to.device) {
      queues_[to.device]->copy(*to.memory, 0, *source.memory, 0, bytes);
      continue;
    }
    std::vector<std::byte> between(bytes);
    queues_[source.device]->download(between, *source.memory, 0);
    queues_[to.device]->upload(*to.memory, 0, between);
  }
}

}  // namespace v4rt
