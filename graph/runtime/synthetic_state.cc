#include "graph/runtime/synthetic_state.h"

#include <algorithm>
#include <cstring>

#include "graph/runtime/model_impl.h"

namespace v4rt {
namespace {

// SplitMix64: quick, and the same everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  // Nearly standard normal: four uniform numbers of 16 bits added up, whose variance is 4 * 2^32 / 12.
  float normal() {
    const uint64_t u = next();
    const auto sum = static_cast<float>((u & 0xffff) + ((u >> 16) & 0xffff) + ((u >> 32) & 0xffff) + (u >> 48));
    return (sum - 131070.0f) * (1.0f / 37837.2f);
  }

 private:
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  uint64_t state_;
};

// At most so many distinct rows, so that filling a context of millions is mostly copying.
constexpr size_t kDistinctRows = 4096;

void fill_rows(const RowFormat& format, std::span<std::byte> bytes, Random& random) {
  const auto width = static_cast<size_t>(format.bytes());
  const size_t rows = bytes.size() / width, made = std::min(rows, kDistinctRows);
  std::vector<float> values(static_cast<size_t>(format.dim));
  for (size_t r = 0; r < made; ++r) {
    for (float& v : values) v = random.normal();
    encode_row(format, values, reinterpret_cast<uint8_t*>(bytes.data() + r * width));
  }
  for (size_t r = made; r < rows; ++r) std::memcpy(bytes.data() + r * width, bytes.data() + (r - made) * width, width);
}

}  // namespace

void fill_synthetic_state(Session& session, int64_t position, uint64_t seed, int slot) {
  const Model& model = session.model();
  const int64_t context = model.options().context;
  check(position >= 0 && position <= context, Code::kInvalidArgument,
        "a state at position {}: the context has {}; open the model with a longer one", position, context);
  session.reset(slot);
  const Snapshot empty = session.snapshot(slot);
  std::vector<const StateInfo*> states;
  int64_t bytes = 0;
  for (const StateInfo& state : model.impl().states) {
    if (!state.travels()) continue;
    states.push_back(&state);
    bytes += state.live(position).count * state.row_bytes();
  }
  SnapshotWriter writer(position, SnapshotReader(empty.bytes).mark(), states.size(), static_cast<size_t>(bytes));
  Random random(seed);
  for (const StateInfo* state : states) {
    fill_rows(state->rows.format, writer.add(state->name, state->live(position).count, state->row_bytes()), random);
  }
  session.restore(writer.finish(), slot);
}

}  // namespace v4rt
