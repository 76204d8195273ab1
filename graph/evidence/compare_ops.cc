#include <algorithm>
#include <map>

#include "graph/evidence/compare.h"
#include "graph/evidence/stepped_run.h"

namespace v4rt {
namespace {

// A node output as both plans know it, whatever device and memory it has: the node and which of its outputs. The parts
// of an expanded node are called "node.0", "node.1", ...; the last one makes the node's own output.
std::string key_of(const Plan& plan, const Launch& launch, size_t output) {
  const Slot& slot = plan.slots[static_cast<size_t>(launch.args[static_cast<size_t>(launch.n_inputs) + output])];
  const bool is_last_part = launch.node.starts_with(slot.name + ".");
  return fmt::format("{}:{}", is_last_part ? slot.name : launch.node, output);
}

size_t outputs_of(const Launch& launch) {
  const size_t scratch = launch.kernel->scratch_bytes > 0 ? 1 : 0;
  return launch.args.size() - static_cast<size_t>(launch.n_inputs) - scratch;
}

RowFormat format_of(const Launch& launch, size_t output) {
  for (const Alias& alias : launch.op->aliases())
    if (alias.output == static_cast<int>(output)) return launch.op->input(static_cast<size_t>(alias.input)).rows.format;
  return {};
}

// What the expected run has made and nobody has asked for yet.
class Expected {
 public:
  explicit Expected(const std::shared_ptr<const Model>& model) : run_(model) {}

  void begin(std::span<const int32_t> ids) {
    run_.begin(ids);
    made_.clear();
  }
  // Runs on until that output is made; empty if there is none.
  std::optional<std::vector<std::byte>> take(const std::string& key) {
    while (!made_.contains(key) && advance()) continue;
    const auto found = made_.find(key);
    if (found == made_.end()) return std::nullopt;
    std::vector<std::byte> bytes = std::move(found->second);
    made_.erase(found);
    return bytes;
  }
  std::vector<std::string> left() {
    while (advance()) continue;
    std::vector<std::string> keys;
    for (const auto& [key, bytes] : made_) keys.push_back(key);
    return keys;
  }

 private:
  bool advance() {
    const PlanStep* step = run_.next();
    if (step == nullptr) return false;
    if (const auto* launch = std::get_if<Launch>(step)) {
      for (size_t o = 0; o < outputs_of(*launch); ++o)
        made_[key_of(run_.plan(), *launch, o)] = run_.read(launch->args[static_cast<size_t>(launch->n_inputs) + o]);
    }
    return true;
  }

  SteppedRun run_;
  std::map<std::string, std::vector<std::byte>> made_;
};

class Comparer {
 public:
  Comparer(const std::shared_ptr<const Model>& expected, const std::shared_ptr<const Model>& actual)
      : expected_(expected), actual_(actual) {}

  void step(std::span<const int32_t> ids, int64_t position) {
    expected_.begin(ids);
    actual_.begin(ids);
    while (const PlanStep* step = actual_.next())
      if (const auto* launch = std::get_if<Launch>(step)) compare(*launch, position);
    for (const std::string& key : expected_.left()) unmatched(key.substr(0, key.rfind(':')));
  }

  OpComparison result() { return std::move(result_); }

 private:
  void compare(const Launch& launch, int64_t position) {
    ValueError error;
    bool known = false;
    for (size_t o = 0; o < outputs_of(launch); ++o) {
      const SlotId slot = launch.args[static_cast<size_t>(launch.n_inputs) + o];
      const TensorType& type = actual_.plan().slots[static_cast<size_t>(slot)].type;
      const auto wanted = expected_.take(key_of(actual_.plan(), launch, o));
      if (!wanted) continue;
      known = true;
      const ValueError here = compare_values(type, format_of(launch, o), *wanted, actual_.read(slot));
      if (!here.equal()) actual_.write(slot, *wanted);
      error += here;
    }
    if (known)
      note(launch, error, position);
    else
      unmatched(launch.node);
  }

  void note(const Launch& launch, const ValueError& error, int64_t position) {
    const auto [at, is_new] = index_.try_emplace(launch.node, result_.ops.size());
    if (is_new) {
      const Device& device = *actual_.plan().devices[static_cast<size_t>(launch.device)];
      result_.ops.push_back({launch.node, name(launch.op->kind()), device.info().name, launch.kernel->name, {}, -1});
    }
    OpError& op = result_.ops[at->second];
    op.error += error;
    if (error.equal() || op.first_position >= 0) return;
    op.first_position = position;
    if (!result_.first) result_.first = at->second;
  }

  void unmatched(const std::string& node) {
    if (std::ranges::find(result_.unmatched, node) == result_.unmatched.end()) result_.unmatched.push_back(node);
  }

  Expected expected_;
  SteppedRun actual_;
  OpComparison result_;
  std::map<std::string, size_t> index_;  // of nodes in result_.ops
};

}  // namespace

OpComparison compare_ops(const std::shared_ptr<const Model>& expected, const std::shared_ptr<const Model>& actual,
                         std::span<const int32_t> ids, int64_t prompt, const std::function<void(double done)>& done) {
  check(expected->options().numbers == actual->options().numbers, Code::kInvalidArgument,
        "ops can be compared only in the same number mode");
  check(prompt >= 1 && prompt <= static_cast<int64_t>(ids.size()), Code::kInvalidArgument,
        "a prompt of {} of {} tokens", prompt, ids.size());
  Comparer comparer(expected, actual);
  const auto total = static_cast<int64_t>(ids.size());
  for (int64_t position = 0; position < total;) {
    const int64_t n = position == 0 ? prompt : 1;
    comparer.step(ids.subspan(static_cast<size_t>(position), static_cast<size_t>(n)), position);
    position += n;
    done(static_cast<double>(position) / static_cast<double>(total));
  }
  return comparer.result();
}

}  // namespace v4rt
