#include "graph/runtime/session.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "graph/runtime/model_impl.h"
#include "graph/runtime/program.h"
#include "graph/runtime/session_state.h"
#include "ops/core/exact_math.h"

namespace v4rt {

struct Session::Impl {
  explicit Impl(std::shared_ptr<const Model> opened);

  std::span<const float> feed(std::span<const int32_t> tokens, int slot);
  void score(std::span<const int32_t> tokens, const RowFn& row, int slot);
  std::span<const float> feed_batch(std::span<const BatchItem> items);

  // Errors of the caller, found before anything changes.
  size_t checked(int slot) const;
  void check_tokens(std::span<const int32_t> tokens, int slot) const;

  Program& program(int tokens, LogitsOf logits);
  std::unique_ptr<Program> bind(const Plan& plan);
  void grow_arenas();
  void run(Program& program, std::span<const int32_t> ids);  // the segments in `segments`; moves their positions
  std::span<float> logits_of(int64_t rows, std::vector<float>& host) const;
  void check_logits(std::string_view name, std::span<const float> logits, int64_t position) const;
  void finish() const;

  std::shared_ptr<const Model> model;
  Model::Impl& shared;
  const int chunk;
  const int64_t vocab;
  std::vector<std::unique_ptr<Queue>> queues;
  std::vector<BufferPtr> arenas;
  std::optional<SessionState> state;
  std::unique_ptr<Program> decode, prefill, scoring;  // prefill and scoring: of `chunk` tokens
  std::vector<int64_t> positions;
  std::vector<Segment> segments;
  std::vector<Row> rows;
  std::vector<int32_t> ids;
  std::vector<float> logits, mtp_logits;
  std::function<bool(int64_t, int64_t)> progress;
  StepTimesFn step_times;
  std::vector<double> seconds;  // for step_times
};

Session::Impl::Impl(std::shared_ptr<const Model> opened)
    : model(std::move(opened)), shared(model->impl()), chunk(shared.options.chunk), vocab(shared.config.vocab_size) {
  for (const auto& device : shared.devices) queues.push_back(device->create_queue());
  arenas.resize(queues.size());
  state.emplace(shared, queues);
  const auto slots = static_cast<size_t>(shared.options.slots);
  positions.assign(slots, 0);
  segments.reserve(slots);
  rows.resize(static_cast<size_t>(chunk));
  ids.reserve(static_cast<size_t>(chunk));
  logits.resize(slots * static_cast<size_t>(vocab));
  program(1, LogitsOf::kLastRows);
  program(chunk, LogitsOf::kLastRows);
}

// Makes arenas that are large enough for every plan made so far. Programs hold slices of them, so programs of a smaller
// arena are dropped and made again.
void Session::Impl::grow_arenas() {
  const std::vector<size_t> wanted = shared.arena_bytes();
  bool grown = false;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] == 0 || (arenas[i] != nullptr && arenas[i]->bytes() >= wanted[i])) continue;
    queues[i]->finish();
    arenas[i] = shared.devices[i]->allocate(wanted[i]);
    grown = true;
  }
  if (!grown) return;
  if (decode != nullptr) decode = bind(model->plan(1, LogitsOf::kLastRows));
  if (prefill != nullptr) prefill = bind(model->plan(chunk, LogitsOf::kLastRows));
  if (scoring != nullptr) scoring = bind(model->plan(chunk, LogitsOf::kAllRows));
}

std::unique_ptr<Program> Session::Impl::bind(const Plan& plan) {
  const Bindings bindings{.queues = queues,
                          .arenas = arenas,
                          .tensor =
                              [this](const Slot& slot) {
                                return slot.storage == Storage::kState ? state->tensor(slot.name) : shared.weight(slot);
                              },
                          .residence = [this](const Slot& slot) { return shared.residence(slot); }};
  return std::make_unique<Program>(plan, bindings);
}

Program& Session::Impl::program(int tokens, LogitsOf kind) {
  std::unique_ptr<Program>& known = kind == LogitsOf::kAllRows ? scoring : tokens == 1 ? decode : prefill;
  if (known == nullptr) {
    const Plan& plan = model->plan(tokens, kind);
    grow_arenas();
    known = bind(plan);
  }
  return *known;
}

size_t Session::Impl::checked(int slot) const {
  check(slot >= 0 && slot < shared.options.slots, Code::kInvalidArgument,
        "there is no sequence {}: this session holds {}", slot, shared.options.slots);
  return static_cast<size_t>(slot);
}

void Session::Impl::check_tokens(std::span<const int32_t> tokens, int slot) const {
  const int64_t position = positions[checked(slot)], context = shared.options.context;
  check(!tokens.empty(), Code::kInvalidArgument, "no tokens to feed");
  check(static_cast<int64_t>(tokens.size()) <= context - position, Code::kInvalidArgument,
        "{} tokens after {} are more than the context of {} positions; open the model with a longer one", tokens.size(),
        position, context);
  const auto bad = std::find_if(tokens.begin(), tokens.end(), [&](int32_t id) { return id < 0 || id >= vocab; });
  check(bad == tokens.end(), Code::kInvalidArgument, "token {} is {}, outside the vocabulary of {}",
        bad - tokens.begin(), bad == tokens.end() ? 0 : *bad, vocab);
}

void Session::Impl::run(Program& program, std::span<const int32_t> tokens) {
  const std::span<Row> live = std::span(rows).first(tokens.size());
  fill_rows(segments, live);
  program.write("ids", tokens);
  if (step_times) {
    seconds.resize(program.plan().steps.size());
    program.run({segments, live}, seconds);
    step_times(program.plan(), {segments, live}, seconds);
  } else {
    program.run({segments, live});
  }
  for (const Segment& segment : segments) positions[static_cast<size_t>(segment.slot)] += segment.n_tokens;
}

std::span<float> Session::Impl::logits_of(int64_t n, std::vector<float>& host) const {
  const auto size = static_cast<size_t>(n * vocab);
  if (host.size() < size) host.resize(size);
  return std::span(host).first(size);
}

// A logit that is not finite means that some number before it was not: nothing after that has a meaning.
void Session::Impl::check_logits(std::string_view name, std::span<const float> values, int64_t position) const {
  em_uint largest = 0;
  for (float v : values) largest = std::max(largest, em_magnitude(v));
  if (largest < EM_INFINITY_BITS) return;
  const auto bad = std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  fail(
      Code::kCorrupt,
      "position {}: {} of token {} is {}; a weight of this model is not a finite number, or numbers grew past what f32 "
      "holds",
      position, name, bad - values.begin(), *bad);
}

void Session::Impl::finish() const {
  for (const auto& queue : queues) queue->finish();
}

std::span<const float> Session::Impl::feed(std::span<const int32_t> tokens, int slot) {
  check_tokens(tokens, slot);
  const auto total = static_cast<int64_t>(tokens.size());
  Program* last = nullptr;
  for (int64_t done = 0; done < total;) {
    const auto n = static_cast<int32_t>(std::min<int64_t>(chunk, total - done));
    segments.assign(1, {slot, static_cast<int32_t>(positions[static_cast<size_t>(slot)]), n});
    last = &program(n == 1 ? 1 : chunk, LogitsOf::kLastRows);
    run(*last, tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(n)));
    done += n;
    if (done == total || !progress) continue;
    finish();  // what is reported must be done
    if (!progress(done, total)) return {};
  }
  const std::span<float> out = logits_of(1, logits);
  last->read("logits", out);
  shared.check_files();
  check_logits("the logit", out, positions[static_cast<size_t>(slot)] - 1);
  return out;
}

void Session::Impl::score(std::span<const int32_t> tokens, const RowFn& row, int slot) {
  check_tokens(tokens, slot);
  const auto total = static_cast<int64_t>(tokens.size());
  const bool mtp = shared.options.mtp;
  const bool hand_mtp = mtp && positions[static_cast<size_t>(slot)] == 0;
  Program& all = program(chunk, LogitsOf::kAllRows);
  for (int64_t done = 0; done < total;) {
    const auto n = static_cast<int32_t>(std::min<int64_t>(chunk, total - done));
    const auto part = tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(n));
    segments.assign(1, {slot, static_cast<int32_t>(positions[static_cast<size_t>(slot)]), n});
    if (mtp) {
      ids.assign(part.begin() + 1, part.end());
      ids.push_back(done + n < total ? tokens[static_cast<size_t>(done + n)]
                                     : part.back());  // the last row's is not handed on
      all.write("next_ids", ids);
    }
    const std::span<float> main = logits_of(n, logits);
    const std::span<float> second = hand_mtp ? logits_of(n, mtp_logits) : std::span<float>{};
    run(all, part);
    all.read("logits", main);
    shared.check_files();
    if (hand_mtp) all.read("mtp_logits", second);
    const auto v = static_cast<size_t>(vocab);
    for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
      const bool has_mtp = hand_mtp && done + static_cast<int64_t>(i) + 1 < total;
      const auto of_main = main.subspan(i * v, v), of_mtp = has_mtp ? second.subspan(i * v, v) : std::span<float>{};
      const int64_t position = positions[static_cast<size_t>(slot)] - n + static_cast<int64_t>(i);
      check_logits("the logit", of_main, position);
      check_logits("the MTP block's logit", of_mtp, position);
      row(done + static_cast<int64_t>(i), of_main, of_mtp);
    }
    done += n;
  }
}

std::span<const float> Session::Impl::feed_batch(std::span<const BatchItem> items) {
  check(!items.empty(), Code::kInvalidArgument, "no sequences to feed");
  int64_t total = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    check_tokens(items[i].tokens, items[i].slot);
    const auto twice = std::any_of(items.begin(), items.begin() + static_cast<ptrdiff_t>(i),
                                   [&](const BatchItem& other) { return other.slot == items[i].slot; });
    check(!twice, Code::kInvalidArgument, "sequence {} is in the batch twice", items[i].slot);
    total += static_cast<int64_t>(items[i].tokens.size());
  }
  check(total <= chunk, Code::kInvalidArgument,
        "{} tokens in one step, but a chunk holds {}; open the model with a longer chunk", total, chunk);
  segments.clear();
  ids.clear();
  for (const BatchItem& item : items) {
    const int64_t position = positions[static_cast<size_t>(item.slot)];
    segments.push_back({item.slot, static_cast<int32_t>(position), static_cast<int32_t>(item.tokens.size())});
    ids.insert(ids.end(), item.tokens.begin(), item.tokens.end());
  }
  Program& batch = program(total == 1 ? 1 : chunk, LogitsOf::kLastRows);
  run(batch, ids);
  const std::span<float> out = logits_of(static_cast<int64_t>(items.size()), logits);
  batch.read("logits", out);
  shared.check_files();
  const auto v = static_cast<size_t>(vocab);
  for (size_t i = 0; i < items.size(); ++i) {
    check_logits("the logit", out.subspan(i * v, v), positions[static_cast<size_t>(items[i].slot)] - 1);
  }
  return out;
}

Session::Session(std::shared_ptr<const Model> model) {
  check(model != nullptr, Code::kInvalidArgument, "no model for the session");
  impl_ = std::make_unique<Impl>(std::move(model));
}
Session::~Session() = default;

std::span<const float> Session::feed(std::span<const int32_t> tokens, int slot) { return impl_->feed(tokens, slot); }
void Session::score(std::span<const int32_t> tokens, const RowFn& row, int slot) { impl_->score(tokens, row, slot); }
std::span<const float> Session::feed_batch(std::span<const BatchItem> items) { return impl_->feed_batch(items); }
void Session::on_progress(std::function<bool(int64_t, int64_t)> fn) { impl_->progress = std::move(fn); }
void Session::on_step_times(StepTimesFn fn) { impl_->step_times = std::move(fn); }
int64_t Session::position(int slot) const { return impl_->positions[impl_->checked(slot)]; }
const Model& Session::model() const { return *impl_->model; }

void Session::reset(int slot) {
  int64_t& position = impl_->positions[impl_->checked(slot)];
  impl_->state->clear(slot);
  position = 0;
}

Snapshot Session::snapshot(int slot) const {
  Snapshot snapshot{.position = position(slot), .bytes = {}};
  impl_->finish();
  impl_->state->save(slot, snapshot.position, snapshot.bytes);
  return snapshot;
}

void Session::restore(const Snapshot& snapshot, int slot) {
  int64_t& position = impl_->positions[impl_->checked(slot)];
  const int64_t context = impl_->shared.options.context;
  check(snapshot.position >= 0 && snapshot.position <= context, Code::kInvalidArgument,
        "this snapshot is at position {}, the context has {}", snapshot.position, context);
  impl_->state->check_fits(snapshot.position, snapshot.bytes);
  impl_->state->load(slot, snapshot.position, snapshot.bytes);
  position = snapshot.position;
}

}  // namespace v4rt
