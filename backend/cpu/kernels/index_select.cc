#include <algorithm>

#include "backend/cpu/cpu_kernel.h"
#include "backend/cpu/kernels/support.h"
#include "backend/cpu/simd/elementwise.h"
#include "backend/cpu/simd/index.h"
#include "backend/cpu/simd/quant.h"
#include "backend/cpu/simd/tile_index.h"
#include "ops/attention/attention.h"
#include "ops/core/exact_math.h"

namespace v4rt {
namespace {

constexpr int64_t kBatch = 8;  // queries of one sequence that share each decoded key

// A batch of queries is widened, scored against all keys that its last one sees, and then selected from, query by
// query. Scratch: queries, widened, as integers and as tiles, with their head weights; scores; per worker some keys,
// likewise.
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
  // Which ways to the scores a query's numbers allow.
  struct Fits {
    int spread = 0;  // as integers
    bool tiles = false;
  };
  static constexpr int64_t kIntegersFloats = sizeof(simd::Integers) / sizeof(float);

  int64_t vector_floats() const { return whole_lines(heads_ * dim_ + heads_ + integers_ * kIntegersFloats); }
  int64_t query_floats() const {
    return vector_floats() + (tiles_ != nullptr ? simd::IndexTiles::query_floats(heads_, dim_) : 0);
  }
  int64_t score_floats() const { return (capacity_ + simd::kIndexKeys - 1) / simd::kIndexKeys * simd::kIndexKeys; }
  int64_t worker_floats() const {
    return 2 * simd::kIndexKeys * dim_ + (integers_ > 0 ? simd::kIndexKeys * (dim_ / 8 + dim_ / 32) : 0) +
           (tiles_ != nullptr ? simd::IndexTiles::keys_floats(dim_) : 0);
  }
  float* query(const CpuArgs& args, int64_t i) const { return args.scratch<float>() + i * query_floats(); }
  simd::Integers* integers(const CpuArgs& args, int64_t i) const {
    return reinterpret_cast<simd::Integers*>(query(args, i) + heads_ * dim_ + heads_);
  }
  float* query_tiles(const CpuArgs& args, int64_t i) const { return query(args, i) + vector_floats(); }
  float* scores(const CpuArgs& args, int64_t i) const {
    return args.scratch<float>() + batch_ * query_floats() + i * score_floats();
  }
  float* worker_tile(const CpuArgs& args, int worker) const {
    return args.scratch<float>() + batch_ * (query_floats() + score_floats()) + worker * worker_floats();
  }
  int64_t seen(const CpuArgs& args, int32_t t) const {
    return (args.step.rows[static_cast<size_t>(t)].position + 1) / spec_.ratio;
  }

  void run_batch(const CpuArgs& args, int32_t first, int32_t n) const {
    const int64_t most = seen(args, first + n - 1);
    if (most > spec_.top_k) {
      Fits fits[kBatch] = {};
      for (int32_t i = 0; i < n; ++i) {
        widen_query(args, first + i, query(args, i));
        if (integers_ == 0) continue;
        fits[i].spread = simd::pack_index_query(query(args, i), heads_, dim_, integers(args, i));
        fits[i].tiles = tiles_ != nullptr && fits[i].spread <= simd::kIndexSpread &&
                        tiles_->pack_query(integers(args, i), heads_, dim_, query_tiles(args, i));
      }
      const int64_t groups = (most + simd::kIndexKeys - 1) / simd::kIndexKeys;
      const double work = static_cast<double>(simd::kIndexKeys * dim_ * (heads_ * n + 8));
      args.pool.for_ranges(groups, work, [&](int64_t begin, int64_t end, int worker) {
        for (int64_t g = begin; g < end; ++g) score_group(args, first, n, g, most, fits, worker_tile(args, worker));
      });
    }
    args.pool.for_ranges(n, 4.0 * static_cast<double>(most), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) select(args, first + static_cast<int32_t>(i), scores(args, i));
    });
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

  void score_group(const CpuArgs& args, int32_t first, int32_t n, int64_t group, int64_t most, const Fits* fits,
                   float* tile) const {
    const int64_t key = group * simd::kIndexKeys, live = std::min(simd::kIndexKeys, most - key),
                  width = spec_.format.bytes();
    const int32_t slot = args.step.rows[static_cast<size_t>(first)].slot;
    const uint8_t* rows = args.data<const uint8_t>(2) + (slot * capacity_ + key) * width;
    float *panel = tile + simd::kIndexKeys * dim_, *scales = panel + simd::kIndexKeys * dim_;
    auto* words = reinterpret_cast<uint32_t*>(scales + simd::kIndexKeys * dim_ / 32);
    const int of_keys =
        integers_ > 0 ? simd::turn_fp4_words(spec_.format, rows, live, words, scales) : simd::kIndexSpread;
    float* key_tiles = scales + simd::kIndexKeys * (dim_ / 32 + dim_ / 8);
    const bool tiled = tiles_ != nullptr && tiles_->pack_keys(words, scales, dim_, key_tiles);
    bool turned = false;
    for (int32_t i = 0; i < n; ++i) {
      const int64_t sees = seen(args, first + i);
      if (sees <= key || sees <= spec_.top_k) continue;
      const float *q = query(args, i), *weights = q + heads_ * dim_;
      if (integers_ > 0 && fits[i].spread + of_keys <= simd::kIndexSpread) {
        if (fits[i].tiles && tiled) {
          tiles_->scores(query_tiles(args, i), key_tiles, dim_, weights, heads_, spec_.rounds, scores(args, i) + key);
          continue;
        }
        simd::index_scores_of_integers(words, scales, dim_, integers(args, i), weights, heads_, spec_.rounds,
                                       scores(args, i) + key);
        continue;
      }
      if (!turned) turn(rows, live, tile, panel);
      turned = true;
      simd::index_scores(panel, dim_, q, weights, heads_, spec_.rounds, scores(args, i) + key);
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
    if (n > k) return simd::select_largest(scores, n, k, out);
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
