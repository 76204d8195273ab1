#pragma once

#include "ops/attention/row_format.h"
#include "ops/op.h"
#include "ops/rope/rope.h"

namespace v4rt {

// State of a layer. Every state tensor has a leading slot dimension; row t of the chunk belongs to slot
// step.rows[t].slot.

// ring[slot, position mod R, :] = encode_row(x[t, :]) for the last R rows of each segment.
// in: x activation or F32 [T, n] or [T, m, n / m] (n = format.dim), ring U8 [slots, R, format.bytes()], or F32 [slots,
// R, n] for kF32 rows. out: ring, in place.
class RingAppend final : public OpOf<OpKind::kRingAppend> {
 public:
  explicit RingAppend(const RowFormat& format) : format(format) {}
  const RowFormat format;
  std::string describe() const override;
  Input input(size_t index) const override;
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;
  std::span<const Alias> aliases() const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

// y[t, :, :] = ring[slot, position mod R, :], rows of kF32 or kBF16 in the activation type that they were appended
// from. in: ids I32 [T], of which only the number counts; ring U8 [slots, R, format.bytes()]. out: activation [T, m,
// format.dim / m].
class RingRead final : public OpOf<OpKind::kRingRead> {
 public:
  // `back`: the positions before a step's that it may read.
  RingRead(const RowFormat& format, DType activation, int m, int64_t back)
      : format(format), activation(activation), m(m), back(back) {}
  const RowFormat format;
  const DType activation;
  const int m;
  const int64_t back;
  std::string describe() const override;
  Input input(size_t index) const override;
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

// Forms one cache entry for every live row t whose position p completes a block, (p + 1) mod ratio == 0 (spec
// section 7.2), and writes it to cache[slot, p / ratio, :]. c = 2 when `overlap`, else 1; C = format.dim.
//   Row q of the pool holds (values, scores) = (as[., 0 .. cC), as[., cC .. 2cC) + ape[q mod ratio, :]) of position q:
//   from the chunk when q lies in t's segment, otherwise from pending[slot, q mod R, :] (q >= 0 always holds one of the
//   two). Without overlap the pool is positions p - ratio + 1 .. p, channels as stored. With overlap it is
//   first the previous block (p - 2*ratio + 1 .. p - ratio, channels [0, C); left out when negative), then the own
//   block (channels [C, 2C)). Per channel, in pool order: M = max score; e_i = em_weight(s_i - M); Z = sum e_i; acc =
//   fma(e_i, v_i, acc); entry = acc / Z (em_div).
// Then, rounding to bf16 after each step when `rounds`: entry = round(entry); RmsNorm(eps) with norm_w; RopeTail(table)
// at position (p / ratio) * ratio; when `hadamard`: Hadamard over C; then encode_row (which quantises the packed
// formats).
// in: as F32 [T, 2cC], pending F32 [slots, R, 2cC] with R >= c * ratio, ape F32 [ratio, cC], norm_w BF16|F32 [C], cache
// U8 [slots, capacity, format.bytes()]. out: cache, in place.
struct CompressSpec {
  int ratio = 4;
  bool overlap = true;
  RowFormat format;
  RopeTable table;
  float eps = 1e-6f;
  bool rounds = false;                                          // faithful: bf16 between the steps
  bool hadamard = false;                                        // index keys in faithful mode
  int width() const { return (overlap ? 2 : 1) * format.dim; }  // cC
  int pending_rows() const { return (overlap ? 2 : 1) * ratio; }
  RowFormat pending_format() const { return {RowFormat::Kind::kF32, 2 * width(), 0}; }
};

class CompressPool final : public OpOf<OpKind::kCompressPool> {
 public:
  explicit CompressPool(const CompressSpec& spec) : spec(spec), frequencies(spec.table.frequencies()) {}
  const CompressSpec spec;
  const std::vector<float> frequencies;
  std::string describe() const override;
  Input input(size_t index) const override;
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;
  std::span<const Alias> aliases() const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

// The lightning indexer's choice (spec section 7.5): for row t at position p, among entries j < n = (p + 1) / ratio,
// the top_k by score (em_order), larger first, lower index on ties; written in ascending index order, -1 after the
// last.
//   d = dot(q[t, h, :], key[j, :]) (exact_math.h)
//   rounds:  g = bf16(g[t, h] * weight_scale); d = bf16(d); S = sum over h in order of bf16(g * max(d, 0)); S = bf16(S)
//   else:    g = g[t, h] * weight_scale; S = fma(g, max(d, 0), S) over h in order
// n <= top_k: all of them, scores need not be computed. Keys are cache rows in `format`.
// in: q activation [T, H, D], g activation [T, H], cache U8 [slots, capacity, format.bytes()].  out: I32 [T, top_k].
struct IndexSpec {
  int ratio = 4, top_k = 512;
  RowFormat format;
  float weight_scale = 1;
  bool rounds = false;
};

class IndexSelect final : public OpOf<OpKind::kIndexSelect> {
 public:
  explicit IndexSelect(const IndexSpec& spec) : spec(spec) {}
  const IndexSpec spec;
  std::string describe() const override;
  Input input(size_t index) const override;
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

// Scores of row t against entries [0, scores.size()), as IndexSelect computes them. For tests and reports.
void index_scores(const IndexSpec& spec, std::span<const float> q, std::span<const float> g, const uint8_t* keys,
                  std::span<float> scores);

// Attention over the sliding window and the compressed entries, with a sink (spec sections 7.4 and 7.6). Keys are
// values; one row serves all heads. The list of a query at position p has slots 0 .. W + E - 1:
//   slot i < W      position max(0, p - W + 1) + i, masked when > p; row ring[slot, position mod R]
//   slot W + i      dense (ratio > 0, no idx): entry i < (p + 1) / ratio; sparse: entry idx[t, i], masked when -1;
//                   row cache[slot, entry]
// Blocks of 64 slots, online softmax, masked slots skipped (they count as p = 0):
//   s = dot(q, row) * scale;  M' = max(M, max s of the block), starting from -inf;  a = em_weight(M - M') (first block:
//   nothing to rescale);  e = em_weight(s - M');  Z = Z * a + sum64(e) (lane = slot in the block);  acc[d] *= a; then,
//   as dot does it, for slots 0..31 and 32..63 of the block: acc[d] = acc[d] + (c + c'), the chains c of the first and
//   c' of the second sixteen slots, c = fma(e'[i], row[i][d], c) from 0 over live i ascending; e' = round(e) to bf16
//   when `rounds`, else e. A block without a live slot changes nothing. o[d] = round(acc[d] / (Z + em_exp(sink[h] -
//   M))).
// in: q activation [T, H, D], ring U8 [slots, R, format.bytes()], sink F32 [H], then for ratio > 0 cache U8 [slots,
// capacity, format.bytes()], then for top_k > 0 idx I32 [T, top_k].
// out: activation [T, H, D].
struct AttendSpec {
  int window = 128;
  int ratio = 0;  // 0: window only
  int top_k = 0;  // > 0: sparse
  RowFormat format;
  float scale = 1;
  bool rounds = false;
};

class Attend final : public OpOf<OpKind::kAttend> {
 public:
  explicit Attend(const AttendSpec& spec) : spec(spec) {}
  const AttendSpec spec;
  std::string describe() const override;
  Input input(size_t index) const override;
  std::vector<TensorType> infer(std::span<const TensorType> in) const override;
  void reference(RefContext& context) const override;

 protected:
  Cost work(std::span<const TensorType> in, const Step& step) const override;
};

}  // namespace v4rt
