#include "graph/runtime/computation.h"

#include <algorithm>

#include "graph/plan/compile.h"

namespace v4rt {
namespace {

class HostWeights final : public WeightSource {
 public:
  explicit HostWeights(Computation::WeightFn weight) : weight_(std::move(weight)) {}

  const V4Config& config() const override { return config_; }
  bool has(std::string_view) const override { return weight_ != nullptr; }
  WeightView get(std::string_view name) const override {
    check(weight_ != nullptr, Code::kInvalidArgument, "the graph has a weight {}, and no weights were given", name);
    WeightView view = weight_(name);
    size_t bytes = 0, scale_bytes = 0;
    for (const auto part : view.parts) bytes += part.size();
    for (const auto part : view.scale_parts) scale_bytes += part.size();
    check(bytes == view.type.bytes() && scale_bytes == view.type.scale_bytes(), Code::kInvalidArgument,
          "weight {} is {}, which takes {} bytes and {} of scales, not {} and {}", name, to_string(view.type),
          view.type.bytes(), view.type.scale_bytes(), bytes, scale_bytes);
    return view;
  }

 private:
  const Computation::WeightFn weight_;
  const V4Config config_;
};

}  // namespace

Computation::Computation(const Graph& graph, const PlaceOptions& options, const WeightFn& weight)
    : plan_(compile(graph, options)), weights_(std::make_shared<HostWeights>(weight), plan_.devices) {
  for (size_t i = 0; i < plan_.devices.size(); ++i) {
    plan_.devices[i]->finish_kernels({});
    queues_.push_back(plan_.devices[i]->create_queue());
    arenas_.push_back(plan_.arena_bytes[i] > 0 ? plan_.devices[i]->allocate(plan_.arena_bytes[i]) : nullptr);
  }
  weights_.add(plan_);
  weights_.load({});
  const auto tensor = [this](const Slot& slot) {
    if (slot.storage == Storage::kWeight) return weights_.tensor(slot);
    for (const State& state : states_)
      if (state.name == slot.name) return state.tensor;
    const auto device = static_cast<size_t>(slot.device);
    Tensor made{slot.type, plan_.devices[device]->allocate(slot.type.bytes()), nullptr};
    slots_ = std::min(slots_, slot.type.shape[0]);
    return states_.emplace_back(State{slot.name, queues_[device].get(), std::move(made)}).tensor;
  };
  program_ = std::make_unique<Program>(plan_, Bindings{.queues = queues_, .arenas = arenas_, .tensor = tensor});
  for (const auto& [name, slot] : plan_.inputs)
    capacity_ = std::min(capacity_, plan_.slots[static_cast<size_t>(slot)].type.shape[0]);
  clear();
}

void Computation::run(std::span<const Segment> segments) {
  int64_t tokens = 0;
  for (const Segment& segment : segments) {
    check(segment.n_tokens > 0 && segment.position >= 0, Code::kInvalidArgument,
          "a segment of {} tokens at position {}", segment.n_tokens, segment.position);
    check(segment.slot >= 0 && segment.slot < slots_, Code::kInvalidArgument,
          "there is no sequence {}: the states are for {}", segment.slot, slots_);
    tokens += segment.n_tokens;
  }
  check(tokens <= capacity_, Code::kInvalidArgument, "{} tokens, and the graph's inputs have room for {}", tokens,
        capacity_);
  rows_.resize(static_cast<size_t>(tokens));
  fill_rows(segments, rows_);
  program_->run({segments, rows_});
}

void Computation::clear() {
  for (const State& state : states_) state.queue->fill(*state.tensor.values, std::byte{0});
}

WeightView host_weight(const TensorType& type, std::span<const std::byte> values, std::span<const std::byte> scales) {
  WeightView view{.type = type, .parts = {values}, .scale_parts = {}, .owner = nullptr};
  if (!scales.empty()) view.scale_parts.push_back(scales);
  return view;
}

}  // namespace v4rt
