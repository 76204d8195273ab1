#include <algorithm>
#include <span>

#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/kernels/support.h"
#include "backend/cpu/simd/elementwise.h"
#include "backend/cpu/simd/index.h"
#include "backend/cpu/simd/quant.h"
#include "backend/cpu/simd/tile_index.h"
#include "ops/attention/attention.h"
#include "ops/core/arith.h"
#include "ops/core/exact_math.h"

namespace v4rt {
namespace {

constexpr int64_t kBatch = simd::IndexTileCall::kMostQueries;  // queries of one sequence that share each decoded key

// Widens a batch of queries, scores them against all keys that the last of them sees, and then selects, query by query.
// Scratch: the queries as floats, as integers and as tiles, with head weights; scores; the largest score of each group;
// for each worker some keys in the same forms.
class IndexSelectKernel final : public CpuKernel {
 public:
  IndexSelectKernel(const OpCall& call, const CpuDevice& device)
      : spec_(op_of<IndexSelect>(call).spec),
        heads_(call.inputs[0].shape[1]),
        dim_(call.inputs[0].shape[2]),
        capacity_(call.inputs[2].shape[1]),
        bytes_(static_cast<int64_t>(simd::element_bytes(call.inputs[0].dtype))),
        batch_(std::min(kBatch, call.inputs[0].shape[0])),
        act_(simd::elementwise(call.inputs[0].dtype)),
        decode_(simd::decode_row(spec_.format)),
        integers_(simd::index_integers_work(spec_.format) ? heads_ * dim_ / 32 : 0),
        tiles_(simd::index_tiles(spec_.format, device.paths().unit)) {
    scratch_bytes =
        static_cast<size_t>(batch_ * (query_floats() + score_floats()) + device.threads() * worker_floats()) *
        sizeof(float);
  }

  void run(const CpuArgs& args) const override {
    for (int32_t t = 0; t < args.step.n_rows();) {
      const Row& row = args.step.rows[static_cast<size_t>(t)];
      const int32_t n = std::min(row.end - t, static_cast<int32_t>(batch_));
      run_batch(args, t, n);
      t += n;
    }
  }

 private:
  // The queries of a batch that have to choose, the ways to compute scores that their numbers allow, and the keys that
  // the last of them sees.
  struct Query {
    int64_t seen = 0;
    const float* widened = nullptr;
    float* scores = nullptr;
    const simd::Integers* integers = nullptr;
    int spread = simd::kIndexSpread + 1;
    bool tiles = false;
  };
  struct Batch {
    const uint8_t* rows = nullptr;
    int64_t keys = 0;
    int n = 0;
    Query queries[kBatch];
    simd::IndexTileCall tiles;  // for those that allow it
  };
  static constexpr int64_t kIntegersFloats = sizeof(simd::Integers) / sizeof(float);

  int64_t vector_floats() const { return whole_lines(heads_ * dim_ + heads_ + integers_ * kIntegersFloats); }
  int64_t query_floats() const {
    return vector_floats() + (tiles_ != nullptr ? whole_lines(simd::IndexTiles::query_floats(heads_, dim_)) : 0);
  }
  int64_t groups() const { return ceil_div(capacity_, simd::kIndexKeys); }
  int64_t score_floats() const { return whole_lines(groups() * (simd::kIndexKeys + 1)); }
  int64_t vector_work_floats() const {
    return whole_lines(2 * simd::kIndexKeys * dim_ + (integers_ > 0 ? simd::kIndexKeys * (dim_ / 8 + dim_ / 32) : 0));
  }
  int64_t worker_floats() const {
    return vector_work_floats() +
           (tiles_ != nullptr ? whole_lines(simd::IndexTiles::work_floats(heads_, spec_.format)) : 0);
  }
  float* query(const CpuArgs& args, int64_t i) const { return args.scratch<float>() + i * query_floats(); }
  simd::Integers* integers(const CpuArgs& args, int64_t i) const {
    return reinterpret_cast<simd::Integers*>(query(args, i) + heads_ * dim_ + heads_);
  }
  float* query_tiles(const CpuArgs& args, int64_t i) const { return query(args, i) + vector_floats(); }
  float* scores(const CpuArgs& args, int64_t i) const {
    return args.scratch<float>() + batch_ * query_floats() + i * score_floats();
  }
  uint32_t* largest(float* scores) const { return reinterpret_cast<uint32_t*>(scores + groups() * simd::kIndexKeys); }
  float* worker_memory(const CpuArgs& args, int worker) const {
    return args.scratch<float>() + batch_ * (query_floats() + score_floats()) + worker * worker_floats();
  }
  int64_t seen(const CpuArgs& args, int32_t t) const {
    return (args.step.rows[static_cast<size_t>(t)].position + 1) / spec_.ratio;
  }

  void run_batch(const CpuArgs& args, int32_t first, int32_t n) const {
    const int64_t most = seen(args, first + n - 1);
    if (most > spec_.top_k) {
      const Batch batch = prepare(args, first, n);
      const double work = static_cast<double>(simd::kIndexKeys * dim_ * (heads_ * batch.n + 8));
      args.pool.for_ranges(ceil_div(most, simd::kIndexKeys), work, [&](int64_t begin, int64_t end, int worker) {
        score_groups(batch, begin, end, worker_memory(args, worker));
      });
    }
    args.pool.for_ranges(n, static_cast<double>(most), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) select(args, first + static_cast<int32_t>(i), scores(args, i));
    });
  }

  Batch prepare(const CpuArgs& args, int32_t first, int32_t n) const {
    const int32_t slot = args.step.rows[static_cast<size_t>(first)].slot;
    Batch batch{.rows = args.data<const uint8_t>(2) + slot * args[2].type.shape[1] * spec_.format.bytes(),
                .keys = seen(args, first + n - 1)};
    simd::IndexTileCall& call = batch.tiles;
    call = {.rows = batch.rows, .keys = batch.keys, .heads = heads_, .rounds = spec_.rounds};
    for (int32_t i = 0; i < n; ++i) {
      if (seen(args, first + i) <= spec_.top_k) continue;
      Query& q = batch.queries[batch.n++];
      q = {.seen = seen(args, first + i), .widened = query(args, i), .scores = scores(args, i)};
      widen_query(args, first + i, query(args, i));
      if (integers_ == 0) continue;
      q.integers = integers(args, i);
      q.spread = simd::pack_index_query(q.widened, heads_, dim_, integers(args, i));
      const float* weights = q.widened + heads_ * dim_;
      q.tiles = tiles_ != nullptr && q.spread <= simd::kIndexSpread &&
                tiles_->pack_query(q.integers, weights, heads_, dim_, spec_.rounds, query_tiles(args, i));
      if (!q.tiles) continue;
      call.query[call.queries] = query_tiles(args, i);
      call.scores[call.queries++] = q.scores;
    }
    return batch;
  }

  // Whole groups of keys; vectors for those that the matrix unit cannot take.
  void score_groups(const Batch& batch, int64_t begin, int64_t end, float* memory) const {
    simd::IndexTileCall call = batch.tiles;
    call.memory = memory + vector_work_floats();
    for (int64_t g = begin; g < end; ++g) {
      const int64_t first = g;
      if (call.queries > 0) g = tiles_->scores(spec_.format, call, first, end);
      for (int64_t tiled = first; tiled < g && call.queries < batch.n; ++tiled)
        score_group(batch, tiled, false, memory);
      if (g < end) score_group(batch, g, true, memory);
    }
    for (const Query& q : std::span(batch.queries, static_cast<size_t>(batch.n))) {
      const int64_t from = begin * simd::kIndexKeys, live = std::min(end * simd::kIndexKeys, q.seen) - from;
      simd::order_scores(q.scores + from, live, largest(q.scores) + begin);
    }
  }

  // The query as floats, then its head weights, scaled.
  void widen_query(const CpuArgs& args, int32_t t, float* to) const {
    act_.widen(args.data<const std::byte>(0) + t * heads_ * dim_ * bytes_, heads_ * dim_, to);
    float* weights = to + heads_ * dim_;
    act_.widen(args.data<const std::byte>(1) + t * heads_ * bytes_, heads_, weights);
    for (int64_t h = 0; h < heads_; ++h) {
      const float weight = weights[h] * spec_.weight_scale;
      weights[h] = spec_.rounds ? em_bf16(weight) : weight;
    }
  }

  // For all queries, or for those alone that are not in tiles.
  void score_group(const Batch& batch, int64_t group, bool all, float* tile) const {
    const int64_t key = group * simd::kIndexKeys, live = std::min(simd::kIndexKeys, batch.keys - key);
    const uint8_t* rows = batch.rows + key * spec_.format.bytes();
    float *panel = tile + simd::kIndexKeys * dim_, *scales = panel + simd::kIndexKeys * dim_;
    auto* words = reinterpret_cast<uint32_t*>(scales + simd::kIndexKeys * dim_ / 32);
    const int of_keys =
        integers_ > 0 ? simd::turn_fp4_words(spec_.format, rows, live, words, scales) : simd::kIndexSpread;
    bool turned = false;
    for (const Query& q : std::span(batch.queries, static_cast<size_t>(batch.n))) {
      if (q.seen <= key || (q.tiles && !all)) continue;
      const float* weights = q.widened + heads_ * dim_;
      if (q.spread + of_keys <= simd::kIndexSpread) {
        simd::index_scores_of_integers(words, scales, dim_, q.integers, weights, heads_, spec_.rounds, q.scores + key);
        continue;
      }
      if (!turned) turn(rows, live, tile, panel);
      turned = true;
      simd::index_scores(panel, dim_, q.widened, weights, heads_, spec_.rounds, q.scores + key);
    }
  }

  void turn(const uint8_t* rows, int64_t n, float* tile, float* panel) const {
    if (spec_.format.kind == RowFormat::Kind::kFp4 && dim_ % 8 == 0)
      return simd::turn_fp4_keys(spec_.format, rows, n, panel);
    for (int64_t i = 0; i < n; ++i) decode_(spec_.format, rows + i * spec_.format.bytes(), tile + i * dim_);
    simd::turn_keys(tile, n, dim_, panel);
  }

  void select(const CpuArgs& args, int32_t t, float* scores) const {
    int32_t* out = args.data<int32_t>(3) + int64_t{t} * spec_.top_k;
    const int64_t n = seen(args, t), k = std::min<int64_t>(n, spec_.top_k);
    if (n > k) return simd::select_largest(reinterpret_cast<const uint32_t*>(scores), largest(scores), n, k, out);
    for (int64_t i = 0; i < spec_.top_k; ++i) out[i] = i < n ? static_cast<int32_t>(i) : -1;
  }

  const IndexSpec spec_;
  const int64_t heads_, dim_, capacity_, bytes_, batch_;
  const simd::ElementwiseFns& act_;
  const simd::DecodeFn decode_;
  const int64_t integers_;  // blocks of a query that are packed as such
  const simd::IndexTiles* const tiles_;
};

std::unique_ptr<Kernel> make(const OpCall& call, CpuDevice& device) {
  return std::make_unique<IndexSelectKernel>(call, device);
}

}  // namespace

const CpuEntry kCpuIndexSelect{OpKind::kIndexSelect, "cpu.index_select", any_call, make};

}  // namespace v4rt
