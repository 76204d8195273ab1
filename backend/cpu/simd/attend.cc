#include "backend/cpu/simd/attend.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/simd/attend.cc"
#include <hwy/foreach_target.h>  // IWYU pragma: keep

#include <algorithm>
#include <limits>

#include "backend/cpu/simd/math-inl.h"
#include "backend/cpu/simd/quant.h"
#include "backend/cpu/simd/tile-inl.h"
#include "ops/core/arith.h"

HWY_BEFORE_NAMESPACE();
namespace v4rt::simd {
namespace HWY_NAMESPACE {

constexpr int kUnit = kAttendUnit;

template <class T>
void start(const void* q_rows, AttendState& state) {
  const T* q = static_cast<const T*>(q_rows);
  const int64_t units = state.units();
  std::fill_n(state.q, units * kUnit * state.dim, 0.0f);
  std::fill_n(state.maximum, units * kUnit, -std::numeric_limits<float>::infinity());
  std::fill_n(state.sum, units * kUnit, 0.0f);
  // The rows pass through the accumulators' memory on their way to head-last order.
  for (int64_t h = 0; h < state.heads; ++h)
    for (int64_t d = 0; d < state.dim; ++d) state.acc[h * state.stride() + d] = load(q + h * state.dim + d);
  for (int64_t h = 0; h < state.heads; h += kUnit) {
    transpose(state.acc + h * state.stride(), std::min<int64_t>(kUnit, state.heads - h), state.dim, state.stride(),
              state.q + h * state.dim, kUnit);
  }
  std::fill_n(state.acc, units * kUnit * state.stride(), 0.0f);
}

// s[i][h] = dot(q[h], row i).
HWY_INLINE void scores(const AttendTile& tile, const float* q, const AttendState& state, float* s) {
  std::fill_n(s, tile.n * kUnit, 0.0f);
  const auto row = [&](int64_t i) HWY_ATTR { return state.rows + i * state.stride(); };
  tile_rows<1>(q, state.dim, tile.n, row, s, kUnit);
}

// Z = Z * rescale + sum64(e), lane = slot.
HWY_INLINE void add_sum(const AttendTile& tile, const float* e, const F16& rescale, float* lanes, float* sum) {
  if (tile.n < kAttendBlock) std::fill_n(lanes, kAttendBlock * kUnit, 0.0f);
  for (int i = 0; i < tile.n; ++i) store16(load16(e + i * kUnit), lanes + tile.slots[i] * kUnit);
  for (int half = kAttendBlock / 2; half > 0; half /= 2)
    for (int j = 0; j < half * kUnit; j += kUnit)
      store16(load16(lanes + j) + load16(lanes + half * kUnit + j), lanes + j);
  store16(load16(sum) * rescale + load16(lanes), sum);
}

// s becomes e = em_weight(s * scale - M'), M becomes M'; returns em_weight(M - M').
HWY_INLINE F16 softmax(const AttendTile& tile, float scale, float* s, float* maximum) {
  const F16 before = load16(maximum), factor = splat(scale);
  F16 largest = before;
  for (int i = 0; i < tile.n; ++i) {
    const F16 score = load16(s + i * kUnit) * factor;
    store16(score, s + i * kUnit);
    largest = max(score, largest);
  }
  for (int i = 0; i < tile.n; ++i) store16(weight(load16(s + i * kUnit) - largest), s + i * kUnit);
  store16(largest, maximum);
  return weight(before - largest);
}

// c[h][v]: chain from 0 of fma(e[i][h], row[i][d + 16 v ..], c) over the rows [begin, end).
template <int kHeads, int kVectors>
HWY_INLINE void value_chain(const float* rows, int64_t stride, int begin, int end, const float* e, int64_t d,
                            F16 (&c)[kHeads][kVectors]) {
  for (auto& of_head : c)
    for (F16& sum : of_head) sum = zero();
  for (int i = begin; i < end; ++i) {
    F16 row[kVectors];
    for (int v = 0; v < kVectors; ++v) row[v] = load16(rows + i * stride + d + 16 * v);
    for (int h = 0; h < kHeads; ++h) {
      const F16 weight = splat(e[i * kUnit + h]);
      for (int v = 0; v < kVectors; ++v) c[h][v] = fma(weight, row[v], c[h][v]);
    }
  }
}

// acc[h][d] = acc[h][d] * rescale[h], then for every two chains + (c + c'): kHeads heads, kVectors * 16 values.
template <int kHeads, int kVectors>
HWY_INLINE void add_some(const AttendTile& tile, const float* rows, const float* e, const float* rescale, int64_t d,
                         int64_t stride, float* acc) {
  F16 sum[kHeads][kVectors];
  for (int h = 0; h < kHeads; ++h) {
    const F16 r = splat(rescale[h]);
    for (int v = 0; v < kVectors; ++v) sum[h][v] = load16(acc + h * stride + d + 16 * v) * r;
  }
  for (int c = 0; c < kAttendBlock / kDotChain; c += 2) {
    F16 first[kHeads][kVectors], second[kHeads][kVectors];
    value_chain(rows, stride, tile.chains[c], tile.chains[c + 1], e, d, first);
    value_chain(rows, stride, tile.chains[c + 1], tile.chains[c + 2], e, d, second);
    for (int h = 0; h < kHeads; ++h)
      for (int v = 0; v < kVectors; ++v) sum[h][v] = sum[h][v] + (first[h][v] + second[h][v]);
  }
  for (int h = 0; h < kHeads; ++h)
    for (int v = 0; v < kVectors; ++v) store16(sum[h][v], acc + h * stride + d + 16 * v);
}

template <int kVectors>
HWY_INLINE void add_columns(const AttendTile& tile, const float* rows, const float* e, const float* rescale,
                            int64_t heads, int64_t d, int64_t stride, float* acc) {
  constexpr int kHeads = kParts == 1 ? 4 : 2;
  int64_t h = 0;
  for (; h + kHeads <= heads; h += kHeads)
    add_some<kHeads, kVectors>(tile, rows, e + h, rescale + h, d, stride, acc + h * stride);
  for (; h < heads; ++h) add_some<1, kVectors>(tile, rows, e + h, rescale + h, d, stride, acc + h * stride);
}

void weigh(const AttendTile& tile, int64_t unit, float scale, bool rounds, AttendState& state, float* rescale) {
  float *e = state.weights, *lanes = e + kAttendBlock * kUnit;
  const F16 factor = softmax(tile, scale, e, state.maximum + unit * kUnit);
  store16(factor, rescale);
  add_sum(tile, e, factor, lanes, state.sum + unit * kUnit);
  if (rounds)
    for (int i = 0; i < tile.n; ++i) store16(round_bf16(load16(e + i * kUnit)), e + i * kUnit);
}

void add_values(const AttendTile& tile, int64_t unit, const float* rescale, int64_t begin, int64_t end,
                AttendState& state) {
  constexpr int kVectors = kParts == 1 ? 4 : 2;
  const int64_t first = unit * kUnit, heads = std::min<int64_t>(kUnit, state.heads - first), stride = state.stride();
  float* acc = state.acc + first * stride;
  int64_t d = begin;
  for (; d + 16 * kVectors <= end; d += 16 * kVectors)
    add_columns<kVectors>(tile, state.rows, state.weights, rescale, heads, d, stride, acc);
  for (; d < end; d += 16) add_columns<1>(tile, state.rows, state.weights, rescale, heads, d, stride, acc);
}

void add_block(const AttendTile& tile, int64_t unit, float scale, bool rounds, AttendState& state) {
  HWY_ALIGN float rescale[kUnit];
  scores(tile, state.q + unit * kUnit * state.dim, state, state.weights);
  weigh(tile, unit, scale, rounds, state, rescale);
  add_values(tile, unit, rescale, 0, state.padded(), state);
}

template <class T>
void finish(const float* sink, AttendState& state, void* out_rows) {
  T* out = static_cast<T*>(out_rows);
  for (int64_t h = 0; h < state.heads; ++h) {
    const float z = state.sum[h] + em_exp(sink[h] - state.maximum[h]);
    for (int64_t d = 0; d < state.dim; ++d)
      store(em_div(state.acc[h * state.stride() + d], z), out + h * state.dim + d);
  }
}

const AttendFns* attend_for(bool bf16) {
  static constexpr AttendFns kBf16{start<Bf16>, add_block, weigh, add_values, finish<Bf16>},
      kF32{start<float>, add_block, weigh, add_values, finish<float>};
  return bf16 ? &kBf16 : &kF32;
}

}  // namespace HWY_NAMESPACE
}  // namespace v4rt::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace v4rt::simd {

HWY_EXPORT(attend_for);

AttendTile attend_block(const AttendView& view, int64_t begin) {
  AttendTile tile;
  for (int slot = 0; slot < kAttendBlock; ++slot) {
    if (slot % kDotChain == 0) tile.chains[slot / kDotChain] = tile.n;
    const uint8_t* row = view.row(begin + slot);
    if (row == nullptr) continue;
    tile.packed[tile.n] = row;
    tile.slots[tile.n++] = slot;
  }
  tile.chains[kAttendBlock / kDotChain] = tile.n;
  return tile;
}

void decode_rows(const RowFormat& format, const AttendTile& tile, AttendState& state) {
  const DecodeFn decode = decode_row(format);
  float* row = state.rows;
  for (int i = 0; i < tile.n; ++i, row += state.stride()) {
    decode(format, tile.packed[i], row);
    std::fill(row + state.dim, row + state.padded(), 0.0f);
  }
}

int64_t AttendState::floats() const {
  return kAttendBlock * stride() + units() * kAttendUnit * (padded() + stride() + 2) + 2 * kAttendBlock * kAttendUnit;
}

void AttendState::place(float* memory) {
  const int64_t lanes = units() * kAttendUnit;
  rows = memory;
  q = rows + kAttendBlock * stride();
  acc = q + lanes * padded();
  maximum = acc + lanes * stride();
  sum = maximum + lanes;
  weights = sum + lanes;
}

const AttendFns& attend(DType activation) { return *HWY_DYNAMIC_DISPATCH(attend_for)(activation == DType::kBF16); }

}  // namespace v4rt::simd
#endif
