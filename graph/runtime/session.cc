#include "graph/runtime/session.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "graph/runtime/model_impl.h"
#include "graph/runtime/program.h"
#include "graph/runtime/sequence.h"
#include "graph/runtime/session_state.h"
#include "ops/core/exact_math.h"

namespace v4rt {

struct Session::Impl {
  explicit Impl(std::shared_ptr<const Model> opened);

  std::span<const float> feed(std::span<const int32_t> tokens, int slot);
  Program* read(std::span<const int32_t> tokens, int slot);  // the one that made the logits; nullptr: it was stopped
  void score(std::span<const int32_t> tokens, const RowFn& row, int slot);
  std::span<const float> feed_batch(std::span<const BatchItem> items, LogitsOf kind);
  Program& run_batch(std::span<const BatchItem> items, LogitsOf kind);
  void check_taken(std::span<const BatchItem> items);
  std::span<const int32_t> draft(std::span<const DraftItem> items, int n);
  void put_down(int slot, int64_t position);  // what has been loaded
  size_t draft_some(std::span<const DraftItem> items, size_t first, int n);
  size_t stream_bytes() const;  // of one token

  // Errors of the caller, found before anything changes.
  const Sequence& sequence(int slot) const;
  Sequence& sequence(int slot) { return const_cast<Sequence&>(std::as_const(*this).sequence(slot)); }
  int64_t position(int slot) const { return sequences[static_cast<size_t>(slot)].position; }
  void check_tokens(std::span<const int32_t> tokens, int64_t position) const;
  void check_room(int64_t tokens, int64_t position) const;
  void check_item(const BatchItem& item) const;

  Program& program(int tokens, LogitsOf logits);
  Program& program_with_room(int tokens, LogitsOf logits);  // for the segments
  void clear_for(int slot, int64_t positions);              // that will be loaded
  std::unique_ptr<Program> bind(const Plan& plan);
  void grow_arenas();
  // The segments in `segments`; moves their positions. False, and they are where they were, if `go_on` says so.
  using GoOnFn = std::function<bool(double done)>;
  // The ids of `taken` come from the host program's memory of the device.
  using Taken = std::span<const OpenclIdReader::Part>;
  bool run(Program& program, std::span<const int32_t> ids, const GoOnFn& go_on = {}, Taken taken = {});
  bool run_rows(Program& program, size_t n, const GoOnFn& go_on = {});
  bool read_chunk(Program& program, std::span<const int32_t> ids, int64_t done, int64_t total);
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
  std::map<std::pair<int, LogitsOf>, std::unique_ptr<Program>> programs;
  std::vector<Sequence> sequences;
  std::vector<Segment> segments;
  std::vector<Row> rows;
  std::vector<int32_t> ids;
  std::unique_ptr<OpenclIdReader> id_reader;  // where the host program lends its OpenCL context
  size_t id_device = 0;
  std::vector<OpenclIdReader::Part> taken;
  std::vector<float> logits, mtp_logits;
  std::vector<int32_t> guesses;
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
  sequences.resize(slots);
  if (shared.options.draft > 0) {
    for (Sequence& sequence : sequences)
      sequence.recent.resize(static_cast<size_t>(shared.config.sliding_window) +
                             static_cast<size_t>(shared.options.rewind) + 1);
  }
  segments.reserve(slots);
  rows.resize(static_cast<size_t>(chunk));
  ids.reserve(static_cast<size_t>(chunk));
  logits.resize(slots * static_cast<size_t>(vocab));
  taken.reserve(slots);
  for (size_t i = 0; i < queues.size(); ++i) {
    if (shared.devices[i]->info().name != kHostOpencl) continue;
    id_reader = create_opencl_id_reader(*shared.devices[i], *queues[i], vocab);
    id_device = i;
  }
  for (const int tokens : shared.plan_tokens()) program(tokens, LogitsOf::kLastRows);
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
  for (auto& [key, known] : programs) known = bind(model->plan(key.first, key.second));
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
  const auto known = programs.find({tokens, kind});
  if (known != programs.end() && known->second != nullptr) return *known->second;
  const Plan& plan = model->plan(tokens, kind);
  grow_arenas();
  return *(programs[{tokens, kind}] = bind(plan));
}

Program& Session::Impl::program_with_room(int tokens, LogitsOf kind) {
  for (const Segment& s : segments) state->make_room(s.slot, s.position, s.position + s.n_tokens);
  return program(tokens, kind);
}

// Whatever fails from here on leaves an empty sequence.
void Session::Impl::clear_for(int slot, int64_t positions) {
  sequence(slot).clear();
  state->make_room(slot, 0, positions);
}

const Sequence& Session::Impl::sequence(int slot) const {
  check(slot >= 0 && slot < shared.options.slots, Code::kInvalidArgument,
        "there is no sequence {}: this session holds {}", slot, shared.options.slots);
  return sequences[static_cast<size_t>(slot)];
}

void Session::Impl::check_tokens(std::span<const int32_t> tokens, int64_t position) const {
  check_room(static_cast<int64_t>(tokens.size()), position);
  const auto bad = std::find_if(tokens.begin(), tokens.end(), [&](int32_t id) { return id < 0 || id >= vocab; });
  check(bad == tokens.end(), Code::kInvalidArgument, "token {} is {}, outside the vocabulary of {}",
        bad - tokens.begin(), bad == tokens.end() ? 0 : *bad, vocab);
}

void Session::Impl::check_room(int64_t tokens, int64_t position) const {
  const int64_t context = shared.options.context;
  check(tokens > 0, Code::kInvalidArgument, "no tokens to feed");
  check(tokens <= context - position, Code::kInvalidArgument,
        "{} tokens after {} are more than the context of {} positions; open the model with a longer one", tokens,
        position, context);
}

void Session::Impl::check_item(const BatchItem& item) const {
  const int64_t at = sequence(item.slot).position;
  if (item.on_device.n == 0) return check_tokens(item.tokens, at);
  check_room(item.on_device.n, at);
  check(item.tokens.empty(), Code::kInvalidArgument, "sequence {} has tokens of the host's and of the device's memory",
        item.slot);
  check(id_reader != nullptr, Code::kUnsupported,
        "tokens in OpenCL memory: the model is not on {}, with the host program's context", kHostOpencl);
  check(shared.options.draft == 0, Code::kUnsupported,
        "tokens in OpenCL memory: this model was opened for drafts, which need to know them; open it without");
  id_reader->check(item.on_device);
}

bool Session::Impl::run_rows(Program& program, size_t n, const GoOnFn& go_on) {
  const std::span<Row> live = std::span(rows).first(n);
  fill_rows(segments, live);
  if (step_times) {
    seconds.resize(program.plan().steps.size());
    program.run({segments, live}, seconds);
    step_times(program.plan(), {segments, live}, seconds);
  } else if (go_on) {
    return program.run({segments, live}, go_on);
  } else {
    program.run({segments, live});
  }
  return true;
}

bool Session::Impl::run(Program& program, std::span<const int32_t> tokens, const GoOnFn& go_on, Taken from_device) {
  Buffer* const input = from_device.empty() ? nullptr : &program.input("ids", id_device);
  for (const Segment& segment : segments) {
    Sequence& sequence = sequences[static_cast<size_t>(segment.slot)];
    sequence.written = std::max<int64_t>(sequence.written, segment.position + segment.n_tokens);
  }
  program.write("ids", std::as_bytes(tokens));
  if (input != nullptr) id_reader->read(from_device, *input);
  if (!run_rows(program, tokens.size(), go_on)) return false;
  for (const Segment& segment : segments) {
    sequences[static_cast<size_t>(segment.slot)].append(tokens.first(static_cast<size_t>(segment.n_tokens)));
    tokens = tokens.subspan(static_cast<size_t>(segment.n_tokens));
  }
  return true;
}

// A chunk of one sequence, asking `progress` after each layer. A layer that has run has written to its rings, which may
// be needed again.
bool Session::Impl::read_chunk(Program& program, std::span<const int32_t> tokens, int64_t done, int64_t total) {
  if (!progress || tokens.size() == 1) return run(program, tokens);
  const int slot = segments.front().slot;
  const int64_t at = position(slot);
  finish();
  const Bytes rings = state->save_rows(slot, rings_at(at));
  const auto go_back = [&] {
    finish();
    state->load_rows(slot, rings_at(at), rings);
    put_down(slot, at);
  };
  bool whole = false;
  try {
    whole = run(program, tokens, [&](double share) {
      return progress(done + static_cast<int64_t>(share * static_cast<double>(tokens.size())), total);
    });
  } catch (...) {
    go_back();
    throw;
  }
  if (!whole) go_back();
  return whole;
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

Program* Session::Impl::read(std::span<const int32_t> tokens, int slot) {
  check_tokens(tokens, sequence(slot).position);
  const auto total = static_cast<int64_t>(tokens.size());
  Program* last = nullptr;
  for (int64_t done = 0; done < total;) {
    const auto n = static_cast<int32_t>(std::min<int64_t>(chunk, total - done));
    segments.assign(1, {slot, static_cast<int32_t>(position(slot)), n});
    last = &program_with_room(shared.plan_tokens(n), LogitsOf::kLastRows);
    if (!read_chunk(*last, tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(n)), done, total))
      return nullptr;
    done += n;
    if (done == total || !progress) continue;
    finish();  // what is reported must be done
    if (!progress(done, total)) return nullptr;
  }
  return last;
}

std::span<const float> Session::Impl::feed(std::span<const int32_t> tokens, int slot) {
  Program* const last = read(tokens, slot);
  if (last == nullptr) return {};
  const std::span<float> out = logits_of(1, logits);
  last->read("logits", std::as_writable_bytes(out));
  shared.check_files();
  check_logits("the logit", out, position(slot) - 1);
  return out;
}

void Session::Impl::score(std::span<const int32_t> tokens, const RowFn& row, int slot) {
  check_tokens(tokens, sequence(slot).position);
  const auto total = static_cast<int64_t>(tokens.size());
  const bool mtp = shared.options.mtp;
  const bool hand_mtp = mtp && position(slot) == 0;
  for (int64_t done = 0; done < total;) {
    const auto n = static_cast<int32_t>(std::min<int64_t>(chunk, total - done));
    const auto part = tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(n));
    segments.assign(1, {slot, static_cast<int32_t>(position(slot)), n});
    Program& all = program_with_room(chunk, mtp ? LogitsOf::kAllRowsAndMtp : LogitsOf::kAllRows);
    if (mtp) {
      ids.assign(part.begin() + 1, part.end());
      ids.push_back(done + n < total ? tokens[static_cast<size_t>(done + n)]
                                     : part.back());  // the last row's is not handed on
      all.write("next_ids", std::as_bytes(std::span<const int32_t>(ids)));
    }
    const std::span<float> main = logits_of(n, logits);
    const std::span<float> second = hand_mtp ? logits_of(n, mtp_logits) : std::span<float>{};
    run(all, part);
    all.read("logits", std::as_writable_bytes(main));
    shared.check_files();
    if (hand_mtp) all.read("mtp_logits", std::as_writable_bytes(second));
    const auto v = static_cast<size_t>(vocab);
    for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
      const bool has_mtp = hand_mtp && done + static_cast<int64_t>(i) + 1 < total;
      const auto of_main = main.subspan(i * v, v), of_mtp = has_mtp ? second.subspan(i * v, v) : std::span<float>{};
      const int64_t at = position(slot) - n + static_cast<int64_t>(i);
      check_logits("the logit", of_main, at);
      check_logits("the MTP block's logit", of_mtp, at);
      row(done + static_cast<int64_t>(i), of_main, of_mtp);
    }
    done += n;
  }
}

Program& Session::Impl::run_batch(std::span<const BatchItem> items, LogitsOf kind) {
  check(!items.empty(), Code::kInvalidArgument, "no sequences to feed");
  int64_t total = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    check_item(items[i]);
    const auto twice = std::any_of(items.begin(), items.begin() + static_cast<ptrdiff_t>(i),
                                   [&](const BatchItem& other) { return other.slot == items[i].slot; });
    check(!twice, Code::kInvalidArgument, "sequence {} is in the batch twice", items[i].slot);
    total += items[i].n_tokens();
  }
  check(total <= chunk, Code::kInvalidArgument,
        "{} tokens in one step, but a chunk holds {}; open the model with a longer chunk", total, chunk);
  segments.clear();
  ids.clear();
  taken.clear();
  for (const BatchItem& item : items) {
    const auto at = static_cast<int64_t>(ids.size()), n = item.n_tokens();
    segments.push_back({item.slot, static_cast<int32_t>(position(item.slot)), static_cast<int32_t>(n)});
    if (item.on_device.n > 0) taken.push_back({item.on_device, at});
    ids.insert(ids.end(), item.tokens.begin(), item.tokens.end());
    ids.resize(static_cast<size_t>(at + n));
  }
  Program& batch = program_with_room(shared.plan_tokens(static_cast<int>(total)), kind);
  run(batch, ids, {}, taken);
  if (!taken.empty()) check_taken(items);
  return batch;
}

void Session::Impl::check_taken(std::span<const BatchItem> items) {
  int64_t at = id_reader->wrong();
  if (at < 0) return;
  auto item = items.begin();
  for (; at >= item->n_tokens(); ++item) at -= item->n_tokens();
  fail(Code::kInvalidArgument,
       "token {} for sequence {}, in OpenCL memory, is outside the vocabulary of {}; it was read as 0, so truncate, "
       "reset or restore the sequences of this step",
       at, item->slot, vocab);
}

std::span<const float> Session::Impl::feed_batch(std::span<const BatchItem> items, LogitsOf kind) {
  check(kind == LogitsOf::kLastRows || kind == LogitsOf::kAllRows, Code::kInvalidArgument,
        "feed_batch gives the logits of the last rows or of all");
  Program& batch = run_batch(items, kind);
  const bool all = kind == LogitsOf::kAllRows;
  const std::span<float> out = logits_of(static_cast<int64_t>(all ? ids.size() : items.size()), logits);
  batch.read("logits", std::as_writable_bytes(out));
  shared.check_files();
  const auto v = static_cast<size_t>(vocab);
  size_t row = 0;
  for (const BatchItem& item : items) {
    for (int64_t back = all ? item.n_tokens() : 1; back > 0; --back) {
      check_logits("the logit", out.subspan(row++ * v, v), position(item.slot) - back);
    }
  }
  return out;
}

std::span<const int32_t> Session::Impl::draft(std::span<const DraftItem> items, int n) {
  check(n >= 1 && n <= shared.options.draft, Code::kInvalidArgument, "{} guesses: this model was opened for {}", n,
        shared.options.draft);
  for (const DraftItem& item : items) {
    check_tokens({&item.next, 1}, sequence(item.slot).position);
    check(position(item.slot) + n <= shared.options.context, Code::kInvalidArgument,
          "{} guesses after {} positions of a context of {}", n, position(item.slot), shared.options.context);
  }
  guesses.assign(items.size() * static_cast<size_t>(n), -1);
  for (size_t i = 0; i < items.size();) i = draft_some(items, i, n);
  return guesses;
}

// Guesses for items [first, end), as many as have room in a chunk; returns the end. The block runs over the positions
// that it has not seen, of the window's, for it sees no others; what it keeps of one does not depend on earlier ones.
size_t Session::Impl::draft_some(std::span<const DraftItem> items, size_t first, int n) {
  const int64_t window = std::min<int64_t>(shared.config.sliding_window, chunk);
  segments.clear();
  ids.clear();
  std::vector<size_t> drafted;  // the items that there is something to go by
  size_t i = first;
  for (; i < items.size(); ++i) {
    const int slot = items[i].slot;
    Sequence& sequence = sequences[static_cast<size_t>(slot)];
    // The last one again, if it was another token that followed.
    const int64_t unseen = std::min(sequence.drafted, sequence.position - 1);
    const int64_t begin = std::max({sequence.start, unseen, sequence.position - window});
    const int64_t count = sequence.position - begin;
    if (static_cast<int64_t>(ids.size()) + count > chunk) break;
    if (count == 0) continue;
    segments.push_back({slot, static_cast<int32_t>(begin), static_cast<int32_t>(count)});
    for (int64_t p = begin + 1; p < sequence.position; ++p) ids.push_back(sequence.token(p));
    ids.push_back(items[i].next);
    drafted.push_back(i);
    sequence.drafted = sequence.position;
    sequence.guessed = items[i].next;
  }
  if (drafted.empty()) return i;
  const Program* last = nullptr;
  for (int j = 0; j < n; ++j) {
    const auto n_segments = static_cast<int>(segments.size());
    const int tokens = shared.plan_tokens(j == 0 ? static_cast<int>(ids.size()) : n_segments);
    Program& block = program(tokens, j == 0 ? LogitsOf::kDraft : LogitsOf::kNextDraft);
    if (j > 0) block.take("streams", *last, drafted.size() * stream_bytes());
    block.write("next_ids", std::as_bytes(std::span<const int32_t>(ids)));
    run_rows(block, ids.size());
    const std::span<float> out = logits_of(n_segments, logits);
    block.read("logits", std::as_writable_bytes(out));
    last = &block;
    ids.clear();
    for (size_t s = 0; s < drafted.size(); ++s) {
      const auto row = out.subspan(s * static_cast<size_t>(vocab), static_cast<size_t>(vocab));
      ids.push_back(static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
      guesses[drafted[s] * static_cast<size_t>(n) + static_cast<size_t>(j)] = ids.back();
      segments[s] = {segments[s].slot, static_cast<int32_t>(position(segments[s].slot) + j), 1};
    }
  }
  return i;
}

// The MTP block has seen nothing before it.
void Session::Impl::put_down(int slot, int64_t position) {
  sequences[static_cast<size_t>(slot)].put(position);
  if (shared.options.draft > 0) state->clear_what_stays(slot);
}

size_t Session::Impl::stream_bytes() const {
  const size_t element = shared.options.numbers == NumberMode::kFaithful ? 2 : 4;
  return static_cast<size_t>(shared.config.hc_mult * shared.config.hidden_size) * element;
}

Session::Session(std::shared_ptr<const Model> model) {
  check(model != nullptr, Code::kInvalidArgument, "no model for the session");
  impl_ = std::make_unique<Impl>(std::move(model));
}
Session::~Session() = default;

std::span<const float> Session::feed(std::span<const int32_t> tokens, int slot) { return impl_->feed(tokens, slot); }
Tensor Session::feed_on_device(std::span<const int32_t> tokens, int slot) {
  Program* const last = impl_->read(tokens, slot);
  if (last == nullptr) return {};
  impl_->shared.check_files();
  return last->tensor("logits");
}
void Session::score(std::span<const int32_t> tokens, const RowFn& row, int slot) { impl_->score(tokens, row, slot); }
std::span<const float> Session::feed_batch(std::span<const BatchItem> items, LogitsOf logits) {
  return impl_->feed_batch(items, logits);
}
Tensor Session::feed_batch_on_device(std::span<const BatchItem> items) {
  const Program& batch = impl_->run_batch(items, LogitsOf::kLastRows);
  impl_->shared.check_files();
  return batch.tensor("logits");
}
std::span<const int32_t> Session::draft(std::span<const DraftItem> items, int n) { return impl_->draft(items, n); }
void Session::on_progress(std::function<bool(int64_t, int64_t)> fn) { impl_->progress = std::move(fn); }
void Session::on_step_times(StepTimesFn fn) { impl_->step_times = std::move(fn); }
void Session::finish() { impl_->finish(); }
int64_t Session::position(int slot) const { return impl_->sequence(slot).position; }
const Model& Session::model() const { return *impl_->model; }

void Session::reset(int slot) { impl_->sequence(slot).clear(); }

void Session::truncate(int64_t position, int slot) {
  Sequence& sequence = impl_->sequence(slot);
  check(position >= 0 && position <= sequence.position, Code::kInvalidArgument,
        "sequence {} cannot go back to position {}: it is at {}", slot, position, sequence.position);
  if (position == 0) return reset(slot);
  const auto kept = sequence.checkpoints.find(position);
  if (!impl_->state->reaches(position, sequence.kept, sequence.written)) {
    check(kept != sequence.checkpoints.end(), Code::kInvalidArgument,
          "sequence {} cannot go back to position {}: it has been at {} and can go back by {}, to 0, and to its "
          "checkpoints ({}); open the model with a larger rewind, or keep a checkpoint there",
          slot, position, sequence.written, impl_->shared.options.rewind,
          sequence.checkpoints.empty() ? "none" : fmt::format("{}", fmt::join(checkpoints(slot), ", ")));
    impl_->state->load_rows(slot, rings_at(position), *kept->second);
    impl_->put_down(slot, position);
  }
  sequence.cut(position);
}

void Session::checkpoint(int slot) {
  Sequence& sequence = impl_->sequence(slot);
  impl_->finish();
  sequence.checkpoints[sequence.position] =
      std::make_shared<const Bytes>(impl_->state->save_rows(slot, rings_at(sequence.position)));
}

void Session::drop_checkpoint(int64_t position, int slot) { impl_->sequence(slot).checkpoints.erase(position); }

std::vector<int64_t> Session::checkpoints(int slot) const {
  std::vector<int64_t> positions;
  for (const auto& [position, rings] : impl_->sequence(slot).checkpoints) positions.push_back(position);
  return positions;
}

void Session::fork(int from, int to) {
  const Sequence& source = impl_->sequence(from);
  Sequence& target = impl_->sequence(to);
  if (from == to) return;
  reset(to);
  const int64_t promised = source.written - impl_->shared.options.rewind;
  const int64_t back = std::max(source.kept, std::min(source.position, promised));  // it may have gone back further
  impl_->state->copy(from, to, source.position, back, source.written);
  target = source;
  target.kept = back;
}

Snapshot Session::snapshot(int slot) const {
  const int64_t at = position(slot);
  impl_->finish();
  return impl_->state->save(slot, at);
}

void Session::restore(const Snapshot& snapshot, int slot) {
  (void)impl_->sequence(slot);
  const SnapshotReader reader(snapshot.bytes);
  const int64_t position = reader.position(), context = impl_->shared.options.context;
  check(position <= context, Code::kInvalidArgument,
        "this snapshot is at position {}, the context has {}; open the model with a longer one", position, context);
  impl_->state->check_fits(reader);
  impl_->clear_for(slot, position);
  impl_->state->load(slot, reader);
  impl_->put_down(slot, position);
}

Bytes Session::entries(int64_t begin, int64_t end, int slot) const {
  const int64_t at = position(slot);
  check(0 <= begin && begin <= end && end <= at, Code::kInvalidArgument,
        "entries of positions {} to {} of a sequence of {}", begin, end, at);
  impl_->finish();
  return impl_->state->save_rows(slot, entries_of(begin, end));
}

Bytes Session::tail(int64_t begin, int slot) const {
  const int64_t at = position(slot);
  check(0 <= begin && begin <= at, Code::kInvalidArgument, "the tail from {} of a sequence of {}", begin, at);
  impl_->finish();
  return impl_->state->save_rows(slot, tail_of(begin, at));
}

void Session::assemble(int64_t position, int64_t block, std::span<const std::span<const std::byte>> entries,
                       std::span<const std::byte> tail, int slot) {
  (void)impl_->sequence(slot);
  SessionState& state = *impl_->state;
  const int64_t n = static_cast<int64_t>(entries.size()), begin = n * block;
  check(begin <= position && position <= impl_->shared.options.context, Code::kInvalidArgument,
        "a sequence of {} positions, of them {} in parts; the context has {}", position, begin,
        impl_->shared.options.context);
  const auto rows = [&](int64_t i) { return entries_of(i * block, (i + 1) * block); };
  for (int64_t i = 0; i < n; ++i) {
    const size_t bytes = entries[static_cast<size_t>(i)].size(), wanted = state.bytes_of(rows(i));
    check(bytes == wanted, Code::kCorrupt, "part {} of a sequence has {} bytes, not {}", i, bytes, wanted);
  }
  const size_t wanted = state.bytes_of(tail_of(begin, position));
  check(tail.size() == wanted, Code::kCorrupt, "the tail of a sequence has {} bytes, not {}", tail.size(), wanted);
  impl_->clear_for(slot, position);
  for (int64_t i = 0; i < n; ++i) state.load_rows(slot, rows(i), entries[static_cast<size_t>(i)]);
  state.load_rows(slot, tail_of(begin, position), tail);
  impl_->put_down(slot, position);
}

Hash Session::mark() const { return impl_->state->mark(); }
void Session::check_tokens(std::span<const int32_t> tokens) const { impl_->check_tokens(tokens, 0); }

}  // namespace v4rt
