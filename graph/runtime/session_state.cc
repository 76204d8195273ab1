#include "graph/runtime/session_state.h"

#include <algorithm>
#include <numeric>

namespace v4rt {
namespace {

// Whatever the context, the chunk, the devices and the number of sequences.
Hash mark_of(const Model::Impl& model) {
  Hasher hasher;
  if (model.identity) hasher.add(model.identity->content);
  hasher.add(static_cast<uint64_t>(model.options.numbers));
  return hasher.value();
}

std::vector<size_t> by_name(std::span<const StateInfo> states) {
  std::vector<size_t> order(states.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::erase_if(order, [&](size_t i) { return !states[i].travels(); });
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return states[a].name < states[b].name; });
  return order;
}

}  // namespace

SessionState::SessionState(const Model::Impl& model, std::span<const std::unique_ptr<Queue>> queues)
    : mark_(mark_of(model)),
      states_(model.states),
      order_(by_name(states_)),
      queues_(queues),
      tensors_(model, queues) {}

const Tensor& SessionState::tensor(std::string_view name) const {
  for (size_t i = 0; i < states_.size(); ++i) {
    if (states_[i].name == name) return tensors_[i];
  }
  fail(Code::kInternal, "there is no state {}", name);
}

// Rows of a ring may go round its end.
void SessionState::download(size_t i, int slot, RowSpan rows, std::span<std::byte> to) const {
  for (const RowSpan part : states_[i].parts(rows)) {
    const auto piece = to.first(static_cast<size_t>(part.count * states_[i].row_bytes()));
    queue(states_[i]).download(piece, *tensors_[i].values, tensors_.offset(i, slot, part.first));
    to = to.subspan(piece.size());
  }
}

void SessionState::upload(size_t i, int slot, RowSpan rows, std::span<const std::byte> from) {
  for (const RowSpan part : states_[i].parts(rows)) {
    const auto piece = from.first(static_cast<size_t>(part.count * states_[i].row_bytes()));
    queue(states_[i]).upload(*tensors_[i].values, tensors_.offset(i, slot, part.first), piece);
    from = from.subspan(piece.size());
  }
}

Snapshot SessionState::save(int slot, int64_t position) const {
  SnapshotWriter writer(position, mark_, order_.size(),
                        bytes_of([&](const StateInfo& state) { return state.live(position); }));
  for (const size_t i : order_) {
    const RowSpan rows = states_[i].live(position);
    download(i, slot, rows, writer.add(states_[i].name, rows.count, states_[i].row_bytes()));
  }
  return writer.finish();
}

void SessionState::check_fits(const SnapshotReader& snapshot) const {
  check(snapshot.mark() == mark_, Code::kInvalidArgument,
        "this snapshot is of other weights, or of another number mode");
  for (const size_t i : order_) {
    const StateInfo& state = states_[i];
    const SnapshotReader::State* saved = snapshot.find(state.name);
    check(saved != nullptr && saved->rows == state.live(snapshot.position()).count &&
              saved->row_bytes == state.row_bytes(),
          Code::kInvalidArgument, "this snapshot holds {} rows of {} bytes of {}; here a sequence has {} of {}",
          saved != nullptr ? saved->rows : 0, saved != nullptr ? saved->row_bytes : 0, state.name,
          state.live(snapshot.position()).count, state.row_bytes());
  }
}

void SessionState::load(int slot, const SnapshotReader& snapshot) {
  for (const size_t i : order_)
    upload(i, slot, states_[i].live(snapshot.position()), snapshot.find(states_[i].name)->bytes);
}

size_t SessionState::bytes_of(const RowsFn& rows) const {
  int64_t bytes = 0;
  for (const size_t i : order_) bytes += rows(states_[i]).count * states_[i].row_bytes();
  return static_cast<size_t>(bytes);
}

Bytes SessionState::save_rows(int slot, const RowsFn& rows) const {
  Bytes bytes(bytes_of(rows));
  std::span<std::byte> to = bytes;
  for (const size_t i : order_) {
    const RowSpan span = rows(states_[i]);
    download(i, slot, span, to);
    to = to.subspan(static_cast<size_t>(span.count * states_[i].row_bytes()));
  }
  return bytes;
}

void SessionState::load_rows(int slot, const RowsFn& rows, std::span<const std::byte> bytes) {
  for (const size_t i : order_) {
    const RowSpan span = rows(states_[i]);
    upload(i, slot, span, bytes);
    bytes = bytes.subspan(static_cast<size_t>(span.count * states_[i].row_bytes()));
  }
}

SessionState::RowsFn rings_at(int64_t position) {
  return [=](const StateInfo& state) { return state.rows.ring() ? state.live(position) : RowSpan{}; };
}

SessionState::RowsFn entries_of(int64_t begin, int64_t end) {
  return [=](const StateInfo& state) {
    const int64_t first = begin / state.rows.positions;
    return state.rows.ring() ? RowSpan{} : RowSpan{first, end / state.rows.positions - first};
  };
}

SessionState::RowsFn tail_of(int64_t begin, int64_t position) {
  return [rings = rings_at(position), entries = entries_of(begin, position)](const StateInfo& state) {
    return state.rows.ring() ? rings(state) : entries(state);
  };
}

void SessionState::clear_what_stays(int slot) {
  for (size_t i = 0; i < states_.size(); ++i) {
    const StateInfo& state = states_[i];
    if (state.travels()) continue;
    const std::vector<std::byte> zeros(static_cast<size_t>(state.type.shape[1] * state.row_bytes()));
    queue(state).upload(*tensors_[i].values, tensors_.offset(i, slot, 0), zeros);
  }
}

void SessionState::copy(int from, int to, int64_t position, int64_t back, int64_t written) {
  tensors_.copy_entries(from, to, position);
  for (size_t i = 0; i < states_.size(); ++i) {
    const StateInfo& state = states_[i];
    if (!state.rows.ring()) continue;
    const int64_t all = state.type.shape[1];
    const int64_t first = std::max(state.travels() ? state.rows.first(back) : 0, written - all);
    Buffer& memory = *tensors_[i].values;
    for (const RowSpan part : state.parts({first, written - first})) {
      queue(state).copy(memory, tensors_.offset(i, to, part.first), memory, tensors_.offset(i, from, part.first),
                        static_cast<size_t>(part.count * state.row_bytes()));
    }
  }
}

bool SessionState::reaches(int64_t position, int64_t start, int64_t written) const {
  return std::all_of(states_.begin(), states_.end(), [&](const StateInfo& state) {
    if (!state.rows.ring() || !state.travels()) return true;
    const int64_t oldest = std::max(state.rows.first(start), written - state.type.shape[1]);
    return state.rows.first(position) >= oldest;
  });
}

}  // namespace v4rt
