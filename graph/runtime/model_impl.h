#pragma once

// The members of Model. For Session.

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/state_memory.h"
#include "graph/passes/place.h"
#include "graph/runtime/memory_check.h"
#include "graph/runtime/model.h"
#include "graph/runtime/movable.h"
#include "graph/runtime/weight_store.h"

namespace v4rt {

struct RowSpan {
  int64_t first = 0, count = 0;
};

// One tensor [slots, rows, ...] of the running state.
struct StateInfo {
  std::string name;
  TensorType type;
  int device;
  StateRows rows;

  // The rows that positions from `position` on read: of a ring, numbered by their positions.
  RowSpan live(int64_t position) const;
  std::vector<RowSpan> parts(RowSpan rows) const;  // where they lie
  int64_t row_bytes() const { return static_cast<int64_t>(type.bytes()) / (type.shape[0] * type.shape[1]); }
  TensorType with_rows(int64_t rows) const;
  StateMemory memory(std::span<const std::shared_ptr<Device>> devices) const;
  TensorType held_in(StateMemory memory) const;  // as many rows as are held so
  // Whether a sequence cannot go on without it. The MTP block's only helps to guess, and is made again.
  bool travels() const { return !is_mtp_state(name); }
};

struct Model::Impl {
  Impl(std::shared_ptr<const WeightSource> weight_source, const ModelOptions& model_options);

  // Compiled and bound plan; thread-safe.
  const Plan& plan(int tokens, LogitsOf logits);
  Tensor weight(const Slot& slot);
  Residence residence(const Slot& slot);  // of a weight

  // The plans that open() makes, of the options' chunk or of the largest that fits; then their weights.
  void make_first_plans();
  void check_memory();
  void check_host_memory();
  // Of a plan that open() did not make, once it is there: it takes memory beside what was needed `before`.
  void check_more_memory(const HostNeed& before, int tokens);
  std::vector<DeviceNeed> memory_needed();
  void load_weights();

  // The plans of tokens that open() makes: for one token, for one of each of up to 2, 4, 8 .. slots, and for a chunk.
  std::vector<int> plan_tokens() const;
  int plan_tokens(int tokens) const;  // of the smallest of them that takes so many

  void check_files();  // throws Error when a file that is in use was changed

  std::vector<size_t> arena_bytes();  // of one session, per device: the largest of the plans made so far

  std::shared_ptr<const WeightSource> source;
  std::optional<WeightIdentity> identity;  // of the weights when the model was opened
  V4Config config;
  ModelOptions options;
  std::vector<std::shared_ptr<Device>> devices;
  std::vector<PlaceRule> rules;
  std::vector<Move> moves;        // of what devices have no room for
  std::vector<StateInfo> states;  // of all plans of open(), in their order

  std::mutex mutex;  // guards what follows
  WeightStore weights;
  std::map<std::pair<int, LogitsOf>, std::unique_ptr<Plan>> plans;

 private:
  int device_index(const std::string& name);
  std::string device_names() const;
  WeightStore empty_store() const;
  void make_plans_of_chunk();
  bool make_room(bool may_shrink);
  bool move_what_does_not_fit();
  std::vector<Movable> movable_from(int device);
  bool arenas_are_small();
  bool chunk_fits();
  bool arenas_fit();
  HostNeed host_need();
  size_t host_memory() const;
  Graph graph(int tokens, LogitsOf logits, int64_t context);
  // Compiled, its weights not yet loaded.
  std::unique_ptr<Plan> make_plan(int tokens, LogitsOf logits, const std::function<void(double done)>& progress = {});
  void add_states(const Plan& plan);
  MemoryNeed need(int device, int64_t context);
  DeviceInfo limits(int device) const;  // with no more memory than the options allow
  std::string cache_hint(size_t copied) const;
};

}  // namespace v4rt
