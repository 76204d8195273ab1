#include "graph/evidence/stepped_run.h"

#include "graph/runtime/model_impl.h"

namespace v4rt {

SteppedRun::SteppedRun(std::shared_ptr<const Model> model) : model_(std::move(model)) {
  for (const auto& device : model_->impl().devices) queues_.push_back(device->create_queue());
  state_.emplace(model_->impl(), queues_);
  state_->make_room(0, 0, model_->options().context);
  // Rows that no position has written may hold anything; here they are compared as well.
  for (const StateInfo& state : model_->impl().states)
    queues_[static_cast<size_t>(state.device)]->fill(*state_->tensor(state.name).values, std::byte{0});
}

Program& SteppedRun::program(int tokens) {
  std::unique_ptr<Program>& known = programs_[tokens];
  if (known != nullptr) return *known;
  Model::Impl& shared = model_->impl();
  const Plan& plan = model_->plan(tokens, LogitsOf::kLastRows);
  std::vector<BufferPtr>& arenas = arenas_.emplace_back(plan.devices.size());
  for (size_t i = 0; i < arenas.size(); ++i)
    if (plan.arena_bytes[i] > 0) arenas[i] = plan.devices[i]->allocate(plan.arena_bytes[i]);
  const Bindings bindings{.queues = queues_, .arenas = arenas, .tensor = [&](const Slot& slot) {
                            return slot.storage == Storage::kState ? state_->tensor(slot.name) : shared.weight(slot);
                          }};
  known = std::make_unique<Program>(plan, bindings);
  return *known;
}

void SteppedRun::begin(std::span<const int32_t> ids) {
  const auto n = static_cast<int32_t>(ids.size());
  segment_ = {0, segment_.position + segment_.n_tokens, n};
  check(segment_.position + n <= model_->options().context, Code::kInvalidArgument,
        "{} tokens after {} are more than the context of {} positions", n, segment_.position,
        model_->options().context);
  rows_.resize(ids.size());
  fill_rows({&segment_, 1}, rows_);
  program_ = &program(n);
  program_->write("ids", std::as_bytes(ids));
  program_->executor().begin({{&segment_, 1}, rows_});
  next_ = 0;
}

const PlanStep* SteppedRun::next() {
  if (next_ == plan().steps.size()) return nullptr;
  program_->executor().execute(next_, {{&segment_, 1}, rows_});
  for (const auto& queue : queues_) queue->finish();
  return &plan().steps[next_++];
}

std::vector<std::byte> SteppedRun::read(SlotId slot) const {
  const Tensor& tensor = program_->executor().tensor(slot);
  std::vector<std::byte> bytes(tensor.type.bytes());
  queue(slot).download(bytes, *tensor.values, 0);
  return bytes;
}

void SteppedRun::write(SlotId slot, std::span<const std::byte> bytes) {
  queue(slot).upload(*program_->executor().tensor(slot).values, 0, bytes);
}

}  // namespace v4rt
