#include "graph/runtime/model.h"

#include <algorithm>
#include <bit>
#include <optional>

#include "backend/overlap.h"
#include "backend/state_memory.h"
#include "graph/plan/compile.h"
#include "graph/runtime/model_impl.h"
#include "graph/runtime/movable.h"
#include "graph/runtime/profiles.h"
#include "ops/core/host.h"
#include "ops/core/human.h"
#include "ops/core/log.h"

namespace v4rt {
namespace {

constexpr int kMostRewind = 4096;

void check_options(const V4Config& config, const ModelOptions& o) {
  check(o.chunk >= 0, Code::kInvalidArgument, "chunk is {}: at least one token, or 0 for what fits", o.chunk);
  check(o.rewind >= 0 && o.rewind <= kMostRewind, Code::kInvalidArgument,
        "rewind is {}: from 0 to {} positions; keep checkpoints to go back further", o.rewind, kMostRewind);
  check(o.slots >= 1, Code::kInvalidArgument, "slots is {}: at least one sequence", o.slots);
  check(o.reserve >= 1, Code::kInvalidArgument, "reserve is {}: at least one position", o.reserve);
  check(o.context >= 1, Code::kInvalidArgument, "context is {}: at least one position", o.context);
  check(o.context <= config.max_position, Code::kInvalidArgument, "a context of {} positions: this model knows {}",
        o.context, config.max_position);
  check((!o.mtp && o.draft == 0) || config.has_mtp, Code::kUnsupported, "this checkpoint has no MTP block");
  check(o.draft >= 0 && o.draft <= 4, Code::kInvalidArgument, "draft is {}: from 0 to 4 tokens", o.draft);
  check(o.chunk == 0 || o.draft < o.chunk, Code::kInvalidArgument, "draft is {}: less than a chunk, {}", o.draft,
        o.chunk);
  check(o.draft <= o.rewind, Code::kInvalidArgument, "draft is {}: at most rewind, {}", o.draft, o.rewind);
}

constexpr int kMostTokens = 2048;  // of a chunk by default: reading gains a few per cent by each doubling up to here
constexpr int kFewTokens = 32;     // fewer than these save no memory worth the time

void report(const ModelOptions& options, std::string_view what, double done) {
  if (options.progress) options.progress(what, done);
}

}  // namespace

Model::Impl::Impl(std::shared_ptr<const WeightSource> weight_source, const ModelOptions& model_options)
    : source(std::move(weight_source)),
      identity(source->identity()),
      config(source->config()),
      options(model_options),
      weights(source, {}) {
  check_options(config, options);
  device_index(options.device);
  for (const auto& [pattern, name] : options.place) rules.push_back({pattern, device_index(name)});
  for (const auto& [name, bytes] : options.device_memory) {
    check(
        std::ranges::any_of(devices, [&, &wanted = name](const auto& device) { return device->info().name == wanted; }),
        Code::kNotFound, "memory of {}: the model uses no device of that name, only {}", name, device_names());
    check(bytes > 0, Code::kInvalidArgument, "memory of {}: 0 bytes hold no model", name);
  }
  weights = empty_store();
}

WeightStore Model::Impl::empty_store() const {
  std::optional<WeightCache> cache;
  if (!options.weight_cache.empty()) cache.emplace(options.weight_cache, identity);
  return {source, devices, std::move(cache)};
}

std::string Model::Impl::device_names() const {
  std::string names;
  for (const auto& device : devices) names += (names.empty() ? "" : ", ") + device->info().name;
  return names;
}

// Creates the device the first time it is named; a name may also be a part of its description.
int Model::Impl::device_index(const std::string& name) {
  const auto find = [&](const std::string& wanted) {
    const auto known =
        std::find_if(devices.begin(), devices.end(), [&](const auto& d) { return d->info().name == wanted; });
    return static_cast<size_t>(known - devices.begin());
  };
  if (const size_t known = find(name); known < devices.size()) return static_cast<int>(known);
  std::shared_ptr<Device> device =
      options.find_device ? options.find_device(name) : create_profiled_device(name, options.device_options);
  check(device != nullptr, Code::kNotFound, "no device named '{}'", name);
  const size_t at = find(device->info().name);
  if (at == devices.size()) devices.push_back(std::move(device));
  return static_cast<int>(at);
}

Graph Model::Impl::graph(int tokens, LogitsOf logits, int64_t context) {
  const GraphOptions o{.tokens = tokens,
                       .max_tokens = options.chunk,
                       .segments = std::min(tokens, options.slots),
                       .slots = options.slots,
                       .context = context,
                       .rewind = options.rewind,
                       .numbers = options.numbers,
                       .logits = logits,
                       .draft = options.draft > 0};
  return build_v4(*source, o);
}

std::unique_ptr<Plan> Model::Impl::make_plan(int tokens, LogitsOf logits,
                                             const std::function<void(double done)>& progress) {
  PlaceOptions compile_options{.devices = devices, .rules = rules, .state_devices = {}, .moves = moves};
  for (const StateInfo& state : states) compile_options.state_devices.emplace_back(state.name, state.device);
  auto plan = std::make_unique<Plan>(compile(graph(tokens, logits, options.context), compile_options, progress));
  log::info("plan of {} tokens: {} steps, {} refusals", tokens, plan->steps.size(), plan->refusals.size());
  weights.add(*plan);
  return plan;
}

RowSpan StateInfo::live(int64_t position) const {
  if (!rows.ring()) return {0, position / rows.positions};
  return {rows.first(position), position - rows.first(position)};
}

TensorType StateInfo::with_rows(int64_t n) const {
  TensorType other = type;
  std::vector<int64_t> dims(type.shape.dims().begin(), type.shape.dims().end());
  dims[1] = n;
  other.shape = Shape(std::span<const int64_t>(dims));
  return other;
}

StateMemory StateInfo::memory(std::span<const std::shared_ptr<Device>> devices) const {
  return rows.ring() ? StateMemory::kWhole : state_memory(*devices[static_cast<size_t>(device)]);
}

TensorType StateInfo::held_in(StateMemory memory) const {
  return memory == StateMemory::kExtents ? in_extents(type) : type;
}

std::vector<RowSpan> StateInfo::parts(RowSpan span) const {
  if (span.count == 0) return {};
  const int64_t all = type.shape[1], first = span.first % all, before_end = std::min(span.count, all - first);
  if (before_end == span.count) return {{first, span.count}};
  return {{first, before_end}, {0, span.count - before_end}};
}

void Model::Impl::add_states(const Plan& plan) {
  for (const PlanStep& step : plan.steps) {
    const auto* launch = std::get_if<Launch>(&step);
    for (size_t i = 0; launch != nullptr && i < static_cast<size_t>(launch->n_inputs); ++i) {
      const Slot& slot = plan.slots[static_cast<size_t>(launch->args[i])];
      if (slot.storage != Storage::kState) continue;
      const StateRows rows = launch->op->input(i).rows;
      const auto known =
          std::find_if(states.begin(), states.end(), [&](const StateInfo& s) { return s.name == slot.name; });
      if (known == states.end()) {
        states.push_back({slot.name, slot.type, slot.device, rows});
      } else if (rows.ring() && rows.back + rows.block > known->rows.back + known->rows.block) {
        known->rows = rows;  // of the op that reads the most
      }
    }
  }
}

void Model::Impl::make_first_plans() {
  const bool may_shrink = options.chunk == 0;
  if (may_shrink) options.chunk = static_cast<int>(std::min<int64_t>(kMostTokens, options.context));
  while (make_plans_of_chunk(), make_room(may_shrink)) {
    plans.clear();
    states.clear();
    weights = empty_store();
  }
}

// Whether plans made anew take less memory: with a smaller chunk, or with nodes moved to devices that have room. First
// working memory gets small, since it would be no smaller elsewhere.
bool Model::Impl::make_room(bool may_shrink) {
  const bool may_halve = may_shrink && options.chunk > kFewTokens;
  if (!(may_halve && !arenas_are_small()) && move_what_does_not_fit()) return true;
  if (!(may_halve && !chunk_fits()) && !(may_shrink && options.chunk > 1 && !arenas_fit())) return false;
  options.chunk = may_halve ? std::max(options.chunk / 2, kFewTokens) : options.chunk / 2;
  return true;
}

// Adds to the moves what leaves devices that are too full; false: nothing can.
bool Model::Impl::move_what_does_not_fit() {
  const size_t before = moves.size();
  for (size_t i = 0; i < devices.size(); ++i) {
    const int device = static_cast<int>(i);
    const DeviceInfo info = limits(device);
    const size_t needed = need(device, options.context).total();
    if (info.memory == 0 || needed <= info.memory) continue;
    size_t freed = 0;
    for (const Movable& m : movable_from(device)) {
      if (freed >= needed - info.memory) break;
      freed += m.bytes;
      moves.push_back({m.pattern, device,
                       fmt::format("it takes {}, and {} may be used", human_bytes(m.bytes), human_bytes(info.memory))});
    }
  }
  return moves.size() > before;
}

// What may leave a device, in the order of leaving; it must have somewhere to go.
std::vector<Movable> Model::Impl::movable_from(int device) {
  std::vector<const Plan*> all;
  for (const auto& [key, plan] : plans) all.push_back(plan.get());
  std::vector<Movable> movable = v4rt::movable_from(device, all, [&](const Slot& slot) {
    return slot.storage == Storage::kWeight ? weights.to_copy(slot) : slot.type.bytes();
  });
  std::erase_if(movable, [&](const Movable& m) {
    const auto left = std::ranges::count(moves, m.pattern, &Move::pattern);
    return left + 1 >= std::ssize(devices);
  });
  return movable;
}

// Whether working memory is as small as one buffer has to be: without that nothing runs, however few tokens are read.
bool Model::Impl::arenas_fit() {
  for (size_t i = 0; i < devices.size(); ++i) {
    const size_t most = limits(static_cast<int>(i)).max_allocation;
    if (most > 0 && need(static_cast<int>(i), options.context).arena > most) return false;
  }
  return true;
}

// Whether working memory leaves room for the rest on every device.
bool Model::Impl::arenas_are_small() {
  for (size_t i = 0; i < devices.size(); ++i) {
    const size_t memory = limits(static_cast<int>(i)).memory;
    if (memory > 0 && need(static_cast<int>(i), options.context).arena > memory / 8) return false;
  }
  return true;
}

// Whether the plans leave room for others on every device.
bool Model::Impl::chunk_fits() {
  for (size_t i = 0; i < devices.size(); ++i) {
    const int device = static_cast<int>(i);
    if (!exceeds(limits(device), need(device, options.context)).empty()) return false;
  }
  return arenas_are_small() && exceeds_host(host_need(), host_memory()).empty();
}

std::vector<int> Model::Impl::plan_tokens() const {
  std::vector<int> tokens;
  for (int64_t n = 1; n < options.chunk; n *= 2) {
    tokens.push_back(static_cast<int>(n));
    if (n >= options.slots) break;
  }
  tokens.push_back(options.chunk);
  return tokens;
}

int Model::Impl::plan_tokens(int tokens) const {
  const auto rows = static_cast<int>(std::bit_ceil(static_cast<unsigned>(tokens)));
  return tokens <= options.slots * (1 + options.draft) && rows < options.chunk ? rows : options.chunk;
}

void Model::Impl::make_plans_of_chunk() {
  // The chunk plan first: it asks more of a device, and the other plans must leave states where it puts them.
  std::vector<std::pair<int, LogitsOf>> wanted;
  for (const int tokens : plan_tokens()) wanted.emplace(wanted.begin(), tokens, LogitsOf::kLastRows);
  if (options.mtp) wanted.emplace_back(options.chunk, LogitsOf::kAllRowsAndMtp);
  if (options.draft > 0) {
    wanted.emplace_back(plan_tokens(1 + options.draft), LogitsOf::kAllRows);
    wanted.emplace_back(options.chunk, LogitsOf::kDraft);
    wanted.emplace_back(plan_tokens(1 + options.draft), LogitsOf::kDraft);
    if (options.draft > 1) wanted.emplace_back(1, LogitsOf::kNextDraft);
  }
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (plans.contains(wanted[i])) continue;
    const auto progress = [&](double done) {
      report(options, "compiling", (static_cast<double>(i) + done) / static_cast<double>(wanted.size()));
    };
    std::unique_ptr<Plan>& plan = plans[wanted[i]] = make_plan(wanted[i].first, wanted[i].second, progress);
    add_states(*plan);
  }
  report(options, "compiling", 1);
}

// At another context than that of the options: the states of that context, with the arena of the options', which is
// large enough for any shorter context.
MemoryNeed Model::Impl::need(int device, int64_t context) {
  MemoryNeed need{.weights = weights.copied_bytes(device),
                  .staging = weights.staging_bytes(device),
                  .pinned = pinned_bytes(*devices[static_cast<size_t>(device)])};
  const bool actual = context == options.context;
  const Graph other =
      actual ? Graph{} : graph(options.chunk, options.mtp ? LogitsOf::kAllRowsAndMtp : LogitsOf::kLastRows, context);
  for (StateInfo state : states) {
    if (state.device != device) continue;
    if (!actual) state.type = other.value(other.find(state.name, Origin::kState)).type;
    const StateMemory memory = state.memory(devices);
    const size_t bytes = state.held_in(memory).bytes();
    const size_t table = memory == StateMemory::kExtents ? extent_table_bytes(state.held_in(memory)) : 0;
    check(!__builtin_add_overflow(need.states, bytes + table, &need.states), Code::kOutOfMemory,
          "state of {} positions cannot be addressed; ask for a shorter context", context);
    need.largest_state = std::max(need.largest_state, bytes);
    if (memory == StateMemory::kExtents && context > options.reserve) need.growth = std::max(need.growth, bytes);
  }
  for (const auto& [key, plan] : plans) {
    need.arena = std::max(need.arena, plan->arena_bytes[static_cast<size_t>(device)]);
    for (const Slot& slot : plan->slots) {
      if (slot.storage != Storage::kIo || slot.device != device) continue;
      need.io += slot.type.bytes() + slot.type.scale_bytes();
      need.largest = std::max(need.largest, slot.type.bytes());
    }
  }
  need.largest = std::max({weights.largest_copied(device), need.largest_state, need.arena, need.largest});
  return need;
}

DeviceInfo Model::Impl::limits(int device) const {
  DeviceInfo info = devices[static_cast<size_t>(device)]->info();
  for (const auto& [name, bytes] : options.device_memory)
    if (name == info.name) info.memory = info.memory == 0 ? bytes : std::min(info.memory, bytes);
  return info;
}

std::vector<DeviceNeed> Model::Impl::memory_needed() {
  std::vector<DeviceNeed> needs;
  for (size_t i = 0; i < devices.size(); ++i)
    needs.push_back({devices[i]->info().name, need(static_cast<int>(i), options.context)});
  return needs;
}

void Model::Impl::check_memory() {
  for (size_t i = 0; i < devices.size(); ++i) {
    const int device = static_cast<int>(i);
    const DeviceInfo info = limits(device);
    const std::string problem = exceeds(info, need(device, options.context));
    if (problem.empty()) continue;
    const int64_t best =
        largest_context(options.context, [&](int64_t c) { return exceeds(info, need(device, c)).empty(); });
    check(best > 0, Code::kOutOfMemory, "{}: does not fit at any context: {}{}", info.name, problem,
          weights.in_host_memory(device) ? cache_hint(weights.copied_bytes(device)) : "");
    fail(Code::kOutOfMemory, "a context of {} positions ({} sequences): {}; the largest context that fits is {}",
         options.context, options.slots, problem, best);
  }
}

// Advice for a message: how to keep `copied` bytes of weights out of memory; empty if there is no way.
std::string Model::Impl::cache_hint(size_t copied) const {
  if (copied == 0 || !identity) return {};
  return fmt::format("; keep the weights in a file that is mapped, {} on disk: {}",
                     human_bytes(static_cast<double>(copied)), options.weight_cache_hint);
}

// A process that takes more memory than there is gets killed without a message. We leave some for what is not counted:
// staging, drivers, losses of allocators.
size_t Model::Impl::host_memory() const {
  const size_t all = options.memory > 0 ? std::min(options.memory, available_memory()) : available_memory();
  return all - all / 32;
}

HostNeed Model::Impl::host_need() {
  HostNeed host;
  for (size_t i = 0; i < devices.size(); ++i) {
    const int device = static_cast<int>(i);
    host.rest += pinned_bytes(*devices[i]);
    if (!weights.in_host_memory(device)) continue;
    const MemoryNeed mine = need(device, options.context);
    host.weights += mine.weights;
    host.rest += mine.states + mine.growth + mine.arena + mine.io;
  }
  return host;
}

void Model::Impl::check_host_memory() {
  const HostNeed host = host_need();
  const size_t available = host_memory();
  const std::string problem = exceeds_host(host, available);
  const std::string hint = exceeds_host({0, host.rest}, available).empty() ? cache_hint(host.weights) : "";
  check(problem.empty(), Code::kOutOfMemory, "{}{}", problem,
        hint.empty() ? "; ask for a shorter context, a smaller chunk or fewer sequences" : hint);
}

void Model::Impl::check_more_memory(const HostNeed& before, int tokens) {
  std::string problem;
  for (size_t i = 0; i < devices.size() && problem.empty(); ++i) {
    const int device = static_cast<int>(i);
    problem = exceeds(limits(device), need(device, options.context));
  }
  size_t room = host_memory();
  if (options.memory > 0)
    room = std::min(room, options.memory - std::min(options.memory, before.weights + before.rest));
  const size_t more = host_need().rest - before.rest;
  if (problem.empty() && more > room)
    problem = fmt::format("it takes {} more of memory, and {} is available", human_bytes(static_cast<double>(more)),
                          human_bytes(static_cast<double>(room)));
  check(
      problem.empty(), Code::kOutOfMemory,
      "a step of {} tokens that was not planned when the model was opened, such as for the logits after each of them: "
      "{}; open the model with a smaller chunk",
      tokens, problem);
}

void Model::Impl::check_files() {
  source->check_intact();
  const std::lock_guard lock(mutex);
  weights.check_cache_intact();
}

void Model::Impl::load_weights() {
  weights.load([this](std::string_view what, double done) { report(options, what, done); });
  for (const auto& device : devices)
    device->finish_kernels([this](double done) { report(options, "compiling", done); });
}

const Plan& Model::Impl::plan(int tokens, LogitsOf logits) {
  check(tokens >= 1 && tokens <= options.chunk, Code::kInvalidArgument, "a plan of {} tokens: this model's chunk is {}",
        tokens, options.chunk);
  const std::lock_guard lock(mutex);
  const auto found = plans.find({tokens, logits});
  if (found != plans.end()) return *found->second;
  const HostNeed before = host_need();
  const auto added = plans.emplace(std::pair(tokens, logits), make_plan(tokens, logits)).first;
  try {
    check_more_memory(before, tokens);
    load_weights();
  } catch (...) {
    plans.erase(added);
    throw;
  }
  return *added->second;
}

Tensor Model::Impl::weight(const Slot& slot) {
  const std::lock_guard lock(mutex);
  return weights.tensor(slot);
}

Residence Model::Impl::residence(const Slot& slot) {
  const std::lock_guard lock(mutex);
  return weights.residence(slot);
}

std::vector<size_t> Model::Impl::arena_bytes() {
  const std::lock_guard lock(mutex);
  std::vector<size_t> bytes(devices.size(), 0);
  for (const auto& [key, plan] : plans) {
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::max(bytes[i], plan->arena_bytes[i]);
  }
  return bytes;
}

Model::Model() = default;
Model::~Model() = default;

std::vector<DeviceNeed> Model::memory_needed(std::shared_ptr<const WeightSource> weights, const ModelOptions& options) {
  check(weights != nullptr, Code::kInvalidArgument, "no weights to plan a model from");
  Impl planned(std::move(weights), options);
  planned.make_first_plans();
  return planned.memory_needed();
}

std::shared_ptr<const Model> Model::open(std::shared_ptr<const WeightSource> weights, const ModelOptions& options) {
  check(weights != nullptr, Code::kInvalidArgument, "no weights to open a model from");
  std::shared_ptr<Model> model(new Model());
  model->impl_ = std::make_unique<Impl>(std::move(weights), options);
  model->impl_->make_first_plans();
  model->impl_->check_memory();
  model->impl_->check_host_memory();
  model->impl_->load_weights();
  model->impl_->options.progress = nullptr;  // it belongs to the caller, and only for this call
  return model;
}

const V4Config& Model::config() const { return impl_->config; }
const ModelOptions& Model::options() const { return impl_->options; }
const Plan& Model::plan(int tokens, LogitsOf logits) const { return impl_->plan(tokens, logits); }

size_t Model::weight_bytes() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->weights.bytes();
}

size_t Model::state_bytes() const {
  size_t sum = 0;
  for (const StateInfo& state : impl_->states) sum += state.type.bytes();
  return sum;
}

size_t Model::arena_bytes() const {
  size_t sum = 0;
  for (const size_t bytes : impl_->arena_bytes()) sum += bytes;
  return sum;
}

}  // namespace v4rt
