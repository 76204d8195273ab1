#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/registry.h"
#include "graph/model/v4_model.h"
#include "graph/plan/compile.h"
#include "graph/plan/executor.h"
#include "loaders/checkpoint/weight_source.h"
#include "ops/layout/repack.h"

namespace v4rt {

// Runs one layer's graph on given streams.
class LayerRun {
 public:
  LayerRun(const std::shared_ptr<const WeightSource>& weights, const std::string& device, int layer, int tokens)
      : device_(create_device(device)), queue_(device_->create_queue()) {
    const GraphOptions options{.tokens = tokens, .max_tokens = tokens, .context = 256};
    plan_ = compile(build_v4_layer(*weights, options, layer), {.devices = {device_}});
    queues_.push_back(std::move(queue_));
    if (plan_.arena_bytes[0] > 0) arena_ = device_->allocate(plan_.arena_bytes[0]);
    for (const Slot& slot : plan_.slots) bind(slot, *weights);
    executor_ = std::make_unique<Executor>(
        plan_, Bindings{queues_, std::span(&arena_, 1), [&](const Slot& slot) { return bound_.at(key(slot)); }});
  }

  void run(std::span<const float> streams, std::span<const int32_t> ids) {
    const SlotId in = find(plan_.inputs, "streams");
    std::vector<uint16_t> rounded;
    for (const float v : streams) rounded.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(v) >> 16));
    queues_[0]->upload(*executor_->tensor(in).values, 0, std::as_bytes(std::span(rounded)));
    for (const auto& [name, slot] : plan_.inputs) {  // layers that route by score do not read them
      if (name == "ids") queues_[0]->upload(*executor_->tensor(slot).values, 0, std::as_bytes(ids));
    }
    const Segment segment{0, 0, static_cast<int32_t>(ids.size())};
    std::vector<Row> rows(ids.size());
    fill_rows(std::span(&segment, 1), rows);
    executor_->run({std::span(&segment, 1), rows});
  }

  std::vector<float> output(const std::string& name) {
    const Tensor& out = executor_->tensor(find(plan_.outputs, name));
    std::vector<uint16_t> bits(static_cast<size_t>(out.type.shape.elements()));
    queues_[0]->download(std::as_writable_bytes(std::span(bits)), *out.values, 0);
    std::vector<float> values;
    for (const uint16_t b : bits) values.push_back(std::bit_cast<float>(static_cast<uint32_t>(b) << 16));
    return values;
  }

 private:
  static std::string key(const Slot& slot) { return slot.name + "/" + to_string(slot.type); }
  static SlotId find(const std::vector<std::pair<std::string, SlotId>>& list, const std::string& name) {
    for (const auto& [known, id] : list) {
      if (known == name) return id;
    }
    fail(Code::kNotFound, "no input or output '{}'", name);
  }

  BufferPtr upload(const std::vector<std::span<const std::byte>>& parts) {
    size_t bytes = 0, at = 0;
    for (const auto& part : parts) bytes += part.size();
    BufferPtr buffer = device_->allocate(bytes);
    for (const auto& part : parts) {
      queues_[0]->upload(*buffer, at, part);
      at += part.size();
    }
    return buffer;
  }

  void bind(const Slot& slot, const WeightSource& weights) {
    if (slot.storage == Storage::kArena || bound_.count(key(slot)) != 0) return;
    Tensor tensor{slot.type, nullptr, nullptr};
    if (slot.storage == Storage::kWeight) {
      const WeightView view = weights.get(slot.name);
      Tensor source{view.type, upload(view.parts), view.scale_parts.empty() ? nullptr : upload(view.scale_parts)};
      tensor = slot.type.layout == Layout::kRows ? source : repack(source, slot.type);
    } else {
      tensor.values = device_->allocate(slot.type.bytes());
      queues_[0]->fill(*tensor.values, std::byte{0});
    }
    bound_[key(slot)] = tensor;
  }

  Tensor repack(const Tensor& source, const TensorType& type) {
    const Repack op(type.layout);
    Tensor to{type, device_->allocate(type.bytes()),
              type.scale_bytes() == 0 ? nullptr : device_->allocate(type.scale_bytes())};
    const auto kernel = device_->compile({op, std::span(&source.type, 1), std::span(&type, 1)});
    const Tensor args[] = {source, to};
    queues_[0]->begin(Step{});
    queues_[0]->launch(*kernel, args, Step{});
    queues_[0]->finish();
    return to;
  }

  std::shared_ptr<Device> device_;
  std::unique_ptr<Queue> queue_;
  std::vector<std::unique_ptr<Queue>> queues_;
  Plan plan_;
  BufferPtr arena_;
  std::map<std::string, Tensor> bound_;
  std::unique_ptr<Executor> executor_;
};

// Returns the share of equal values; the others must be within 5e-3 of the tensor's scale.
inline double identical_share(std::span<const float> got, std::span<const float> expected, const std::string& what) {
  size_t same = 0;
  float worst = 0, largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    same += got[i] == expected[i];
    worst = std::max(worst, std::abs(got[i] - expected[i]));
    largest = std::max(largest, std::abs(expected[i]));
  }
  EXPECT_LE(worst, 5e-3f * largest) << what;
  return static_cast<double>(same) / static_cast<double>(expected.size());
}

}  // namespace v4rt
