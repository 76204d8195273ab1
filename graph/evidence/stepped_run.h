#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "graph/runtime/model.h"
#include "graph/runtime/program.h"
#include "graph/runtime/session_state.h"

namespace v4rt {

// A sequence whose plans are run step by step, so that what each step makes can be read, and replaced. The numbers are
// those of a Session.
class SteppedRun {
 public:
  explicit SteppedRun(std::shared_ptr<const Model> model);

  void begin(std::span<const int32_t> ids);  // the next tokens, at most a chunk; every row of the plan's values is live
  const PlanStep* next();                    // runs one more step and waits for it; nullptr: there are none left

  const Plan& plan() const { return program_->plan(); }
  const Model& model() const { return *model_; }
  std::vector<std::byte> read(SlotId slot) const;
  void write(SlotId slot, std::span<const std::byte> bytes);

 private:
  Program& program(int tokens);
  Queue& queue(SlotId slot) const {
    return *queues_[static_cast<size_t>(plan().slots[static_cast<size_t>(slot)].device)];
  }

  std::shared_ptr<const Model> model_;
  std::vector<std::unique_ptr<Queue>> queues_;
  std::optional<SessionState> state_;
  std::vector<std::vector<BufferPtr>> arenas_;        // of each program
  std::map<int, std::unique_ptr<Program>> programs_;  // by tokens
  Program* program_ = nullptr;
  Segment segment_{};
  std::vector<Row> rows_;
  size_t next_ = 0;
};

}  // namespace v4rt
