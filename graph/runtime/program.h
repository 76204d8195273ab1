#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "graph/plan/executor.h"

namespace v4rt {

// A plan bound to a session's memory, with inputs and outputs of its own: write ids, run a step, read logits.
class Program {
 public:
  // bindings.tensor gives the memory of state and weight slots; queues and plan must outlive the program.
  Program(const Plan& plan, const Bindings& bindings);

  // The leading values of an input, or of an output, for which it waits. Throws Error(kInvalidArgument) when there is
  // no such one or it has no room for so many.
  void write(std::string_view input, std::span<const std::byte> values);
  void read(std::string_view output, std::span<std::byte> values);
  void run(const Step& step) { executor_.run(step); }
  bool run(const Step& step, const std::function<bool(double done)>& go_on) { return executor_.run(step, go_on); }
  void run(const Step& step, std::span<double> seconds) { executor_.run(step, seconds); }
  const Tensor& tensor(std::string_view output) const;  // where it is on its device
  // The memory of an input that this device alone reads; throws Error(kUnsupported) naming another one that does.
  Buffer& input(std::string_view name, size_t device) const;
  // What `from` left in its output `name` becomes this program's input of that name, the leading rows.
  void take(std::string_view name, const Program& from, size_t bytes);
  const Plan& plan() const { return plan_; }
  Executor& executor() { return executor_; }  // to run it step by step

 private:
  struct Place {
    Buffer* memory = nullptr;
    size_t device = 0;
  };
  Place place(SlotId slot) const;
  Place output(std::string_view name) const;
  SlotId output_slot(std::string_view name) const;

  const Plan& plan_;
  std::span<const std::unique_ptr<Queue>> queues_;
  Executor executor_;
};

}  // namespace v4rt
