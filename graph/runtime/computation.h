#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/passes/place.h"
#include "graph/plan/plan.h"
#include "graph/runtime/program.h"
#include "graph/runtime/weight_store.h"

namespace v4rt {

// A graph of a host program (graph/ir/builder.h) on devices, with memory of its own. Its states begin as zero and last
// from run to run. Used from one thread at a time.
//
// The leading dimension of inputs, and of what is made of them, is a capacity of tokens, of which a run uses as many as
// its segments have; the leading dimension of states is a number of sequences.
class Computation {
 public:
  // The weight of that name, row-major; may be asked more than once. Its bytes must stay where they are as long as the
  // computation lives, unless `owner` keeps them: devices of the host's memory read them in place.
  using WeightFn = std::function<WeightView(std::string_view name)>;

  // Throws Error: kUnsupported with every refusal when no device takes a node, kInvalidArgument when a weight is not of
  // the type that the graph gave it, kOutOfMemory, and whatever `weight` throws.
  Computation(const Graph& graph, const PlaceOptions& options, const WeightFn& weight = {});

  // The leading values of an input, which keeps the others. Throws Error(kInvalidArgument) when there is no such input
  // or it has no room for them.
  void write(std::string_view input, std::span<const std::byte> values) { program_->write(input, values); }
  template <class T>
  void write(std::string_view input, const std::vector<T>& values) {
    write(input, std::as_bytes(std::span<const T>(values)));
  }

  // Enqueues one run over these segments' tokens: row 0 of each input is the first segment's first. Throws
  // Error(kInvalidArgument) when they are more than the capacity, or of sequences that states have no room for.
  void run(std::span<const Segment> segments);

  // The leading values of an output, once they are there.
  void read(std::string_view output, std::span<std::byte> values) { program_->read(output, values); }
  template <class T>
  void read(std::string_view output, std::vector<T>& values) {
    read(output, std::as_writable_bytes(std::span<T>(values)));
  }

  // Where an output is on its device (backend/registry.h: opencl_range), and stays from run to run.
  const Tensor& tensor(std::string_view output) const { return program_->tensor(output); }

  void clear();  // all states, to zero
  const Plan& plan() const { return plan_; }

 private:
  struct State {
    std::string name;
    Queue* queue;
    Tensor tensor;
  };

  const Plan plan_;
  WeightStore weights_;
  std::vector<std::unique_ptr<Queue>> queues_;
  std::vector<BufferPtr> arenas_;
  std::vector<State> states_;
  std::unique_ptr<Program> program_;
  int64_t capacity_ = INT64_MAX, slots_ = INT64_MAX;
  std::vector<Row> rows_;
};

// A weight in the host's memory.
WeightView host_weight(const TensorType& type, std::span<const std::byte> values,
                       std::span<const std::byte> scales = {});

}  // namespace v4rt
