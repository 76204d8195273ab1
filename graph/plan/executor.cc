#include "graph/plan/executor.h"

#include <algorithm>
#include <chrono>

namespace v4rt {
namespace {

Tensor in_arena(const Slot& slot, Buffer& arena) {
  Tensor tensor{.type = slot.type, .values = arena.slice(slot.offset, slot.type.bytes()), .scales = nullptr};
  if (const size_t bytes = slot.type.scale_bytes(); bytes > 0) tensor.scales = arena.slice(slot.scale_offset, bytes);
  return tensor;
}

}  // namespace

Executor::Executor(const Plan& plan, const Bindings& bindings) : plan_(plan) {
  for (const auto& queue : bindings.queues) queues_.push_back(queue.get());
  for (const Slot& slot : plan.slots) {
    const bool planned = slot.storage == Storage::kArena;
    tensors_.push_back(planned ? in_arena(slot, *bindings.arenas[static_cast<size_t>(slot.device)])
                               : bindings.tensor(slot));
  }
  for (const PlanStep& step : plan.steps) {
    commands_.push_back(std::visit([this](const auto& s) { return bind(s); }, step));
    const Command& c = commands_.back();
    if (c.kernel != nullptr && std::find(launching_.begin(), launching_.end(), c.queue) == launching_.end()) {
      launching_.push_back(c.queue);
    }
  }
  join_at_.assign(plan.steps.size(), -1);
  for (const Join& join : plan.joins) {
    join_at_[join.first] = static_cast<int>(joined_.size());
    joined_.push_back(bind(join));
  }
  carrier_.emplace(plan, tensors_, queues_);
  prefetch_.emplace(plan, tensors_, bindings.queues, bindings.residence, bindings.read_ahead);
}

Executor::Command Executor::bind(const Launch& launch) const {
  Command command{.queue = queues_[static_cast<size_t>(launch.device)], .kernel = launch.kernel.get(), .args = {}};
  for (const SlotId id : launch.args) command.args.push_back(tensor(id));
  return command;
}

Executor::Command Executor::bind(const Join& join) const {
  Command command{.queue = commands_[join.first].queue, .kernel = join.kernel.get(), .args = {}};
  for (size_t i = join.first; i < join.first + join.count; ++i)
    command.args.insert(command.args.end(), commands_[i].args.begin(), commands_[i].args.end());
  return command;
}

Executor::Command Executor::bind(const Transfer& transfer) const {
  const auto queue = [&](SlotId id) {
    return queues_[static_cast<size_t>(plan_.slots[static_cast<size_t>(id)].device)];
  };
  return {.queue = queue(transfer.from), .kernel = nullptr, .args = {}, .to = queue(transfer.to)};
}

void Executor::begin(const Step& step) {
  carrier_->reset();
  for (Queue* queue : launching_) queue->begin(step);
  prefetch_->before(step);
}

void Executor::run(const Step& step) {
  begin(step);
  for (size_t i = 0; i < commands_.size();) i = launch(i, step);
  carrier_->before(commands_.size());
}

bool Executor::run(const Step& step, const std::function<bool(double done)>& go_on) {
  begin(step);
  int layer = -1;
  for (size_t i = 0; i < commands_.size(); i = launch(i, step)) {
    const auto* one = std::get_if<Launch>(&plan_.steps[i]);
    const int next = one != nullptr ? layer_of(one->node) : layer;
    if (next > layer && layer >= 0) {
      for (Queue* queue : queues_) queue->finish();
      if (!go_on(static_cast<double>(i) / static_cast<double>(commands_.size()))) return false;
    }
    layer = std::max(layer, next);
  }
  carrier_->before(commands_.size());
  return true;
}

void Executor::run(const Step& step, std::span<double> seconds) {
  using Clock = std::chrono::steady_clock;
  begin(step);
  for (Queue* queue : queues_) queue->finish();
  Clock::time_point begin = Clock::now();
  std::ranges::fill(seconds, 0.0);
  for (size_t i = 0, next = 0; i < commands_.size(); i = next) {
    const Command& command = commands_[i];
    next = launch(i, step);
    if (command.kernel == nullptr) carrier_->arrive(i);
    command.queue->finish();
    if (command.to != nullptr) command.to->finish();
    const Clock::time_point end = Clock::now();
    seconds[i] = std::chrono::duration<double>(end - begin).count();
    begin = end;
  }
}

void Executor::execute(size_t i, const Step& step) {
  start(i, step);
  if (commands_[i].kernel == nullptr) carrier_->arrive(i);
}

size_t Executor::launch(size_t i, const Step& step) {
  const int at = join_at_[i];
  if (at < 0) return start(i, step), i + 1;
  const Command& joined = joined_[static_cast<size_t>(at)];
  const size_t end = i + plan_.joins[static_cast<size_t>(at)].count;
  for (size_t s = i; s < end; ++s) carrier_->before(s);
  joined.queue->launch(*joined.kernel, joined.args, step);
  for (size_t s = i; s < end; ++s) prefetch_->after(s, step);
  return end;
}

void Executor::start(size_t i, const Step& step) {
  const Command& command = commands_[i];
  carrier_->before(i);
  if (command.kernel != nullptr) {
    command.queue->launch(*command.kernel, command.args, step);
  } else {
    carrier_->begin(i);
  }
  prefetch_->after(i, step);
}

}  // namespace v4rt
