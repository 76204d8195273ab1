#include "ops/attention/attention.h"

#include "backend/conformance/case.h"

namespace v4rt {
namespace {

using Kind = RowFormat::Kind;

// Faithful formats with BF16 activations, plain with F32, and a bf16 cache.
struct Mode {
  std::string name;
  DType x;
  bool rounds;
  Kind kv, keys;
};

const Mode kModes[] = {{"faithful", DType::kBF16, true, Kind::kFp8Tail, Kind::kFp4},
                       {"plain", DType::kF32, false, Kind::kF32, Kind::kF32},
                       {"bf16cache", DType::kBF16, true, Kind::kBF16, Kind::kBF16}};

RowFormat kv_format(const Mode& mode, int dim, int tail) {
  return {mode.kv, dim, mode.kv == Kind::kFp8Tail ? tail : 0};
}

void add_ring(std::vector<Case>& cases, const Mode& mode) {
  const auto add = [&](const std::string& name, const RowFormat& format, DType x, int64_t ring,
                       std::vector<Segment> segments, Fill x_fill = {}) {
    cases.push_back({fmt::format("ring_{}_{}", name, mode.name),
                     std::make_shared<RingAppend>(format),
                     {{x, Shape{12, format.dim}}, {DType::kU8, Shape{3, ring, format.bytes()}}},
                     std::move(segments),
                     {x_fill, {.kind = Fill::Kind::kRows, .format = format}}});
  };
  add("kv", kv_format(mode, 128, 64), mode.x, 20, {{0, 17, 9}});
  add("kv512", kv_format(mode, 512, 64), mode.x, 16, {{2, 0, 3}});
  add("keys", {mode.keys, 64, 0}, mode.x, 20, {{1, 0, 2}, {0, 33, 5}});
  add("zeros", {mode.keys, 64, 0}, mode.x, 20, {{1, 3, 4}}, {.scale = 0});
  add("wrap", kv_format(mode, 128, 64), mode.x, 5, {{0, 3, 11}});  // more rows than the ring: the last ones stay
  add("short_block", kv_format(mode, 40, 8), mode.x, 16, {{1, 100, 4}});
}

// Rows of several numbers [m, n], kept as they are.
void add_streams(std::vector<Case>& cases, DType act) {
  const RowFormat format{act == DType::kF32 ? Kind::kF32 : Kind::kBF16, 4 * 24, 0};
  const TensorType ring{DType::kU8, Shape{3, 9, format.bytes()}};
  const Fill rows{.kind = Fill::Kind::kRows, .format = format};
  const std::vector<Segment> segments{{2, 30, 4}, {0, 5, 2}};
  cases.push_back({fmt::format("ring_streams_{}", info(act).name),
                   std::make_shared<RingAppend>(format),
                   {{act, Shape{12, 4, 24}}, ring},
                   segments,
                   {{}, rows}});
  cases.push_back({fmt::format("ring_read_{}", info(act).name),
                   std::make_shared<RingRead>(format, act, 4, 3),
                   {{DType::kI32, Shape{12}}, ring},
                   segments,
                   {{.kind = Fill::Kind::kIds, .low = 0, .high = 9}, rows}});
}

void add_pool(std::vector<Case>& cases, const Mode& mode) {
  const auto add = [&](const std::string& name, int ratio, const RowFormat& format, int rope, bool hadamard,
                       std::vector<Segment> segments, int64_t capacity = 24, int64_t rewind = 0, float steep = 2) {
    const CompressSpec spec{.ratio = ratio,
                            .overlap = ratio == 4,
                            .format = format,
                            .table = {.dims = rope, .theta = 160000, .factor = 16, .original_context = 65536},
                            .rounds = mode.rounds,
                            .hadamard = hadamard && mode.rounds};
    const RowFormat plain{Kind::kF32, 2 * spec.width(), 0};
    cases.push_back({fmt::format("pool_{}_{}", name, mode.name),
                     std::make_shared<CompressPool>(spec),
                     {{DType::kF32, Shape{160, plain.dim}},
                      {DType::kF32, Shape{3, spec.pending_rows() + rewind, plain.dim}},
                      {DType::kF32, Shape{ratio, spec.width()}},
                      {mode.rounds ? DType::kBF16 : DType::kF32, Shape{format.dim}},
                      {DType::kU8, Shape{3, capacity, format.bytes()}}},
                     std::move(segments),
                     {{.scale = steep}, {.scale = steep}, {}, {}, {.kind = Fill::Kind::kRows, .format = format}}});
  };
  add("csa_start", 4, kv_format(mode, 128, 64), 64, false, {{0, 0, 11}});
  add("csa_middle", 4, kv_format(mode, 128, 64), 64, false, {{1, 6, 13}});
  add("csa_one", 4, kv_format(mode, 128, 64), 64, false, {{2, 7, 1}});
  add("csa_none", 4, kv_format(mode, 128, 64), 64, false, {{2, 4, 2}});
  add("csa_segments", 4, kv_format(mode, 128, 64), 64, false, {{2, 3, 1}, {0, 5, 9}, {1, 0, 4}});
  add("csa512", 4, kv_format(mode, 512, 64), 64, false, {{0, 2, 6}});
  add("keys", 4, {mode.keys, 64, 0}, 64, true, {{0, 2, 10}});
  add("keys128", 4, {mode.keys, 128, 0}, 64, true, {{1, 11, 1}});
  add("hca", 128, kv_format(mode, 128, 64), 64, false, {{0, 100, 160}});
  add("hca_start", 128, kv_format(mode, 128, 64), 64, false, {{1, 0, 130}});
  add("ratio8", 8, kv_format(mode, 8, 4), 4, false, {{0, 3, 22}});
  add("csa_rewind", 4, kv_format(mode, 128, 64), 64, false, {{2, 13, 1}, {0, 29, 6}, {1, 6, 3}}, 24, 5);
  add("csa_steep", 4, kv_format(mode, 128, 64), 64, false, {{1, 6, 13}}, 24, 0, 60);
  add("hca_rewind", 128, kv_format(mode, 128, 64), 64, false, {{1, 250, 8}}, 24, 3);
}

void add_select(std::vector<Case>& cases, const Mode& mode) {
  const auto add = [&](const std::string& name, int heads, int dim, int k, std::vector<Segment> segments,
                       int64_t capacity, Fill query = {}) {
    const IndexSpec spec{
        .ratio = 4, .top_k = k, .format = {mode.keys, dim, 0}, .weight_scale = 0.0110485435f, .rounds = mode.rounds};
    cases.push_back({fmt::format("select_{}_{}", name, mode.name),
                     std::make_shared<IndexSelect>(spec),
                     {{mode.x, Shape{10, heads, dim}},
                      {mode.x, Shape{10, heads}},
                      {DType::kU8, Shape{3, capacity, spec.format.bytes()}}},
                     std::move(segments),
                     {query, {}, {.kind = Fill::Kind::kRows, .format = spec.format}}});
  };
  add("few", 4, 64, 16, {{0, 0, 9}}, 64);
  add("at_k", 4, 64, 16, {{1, 60, 10}}, 64);
  add("many", 4, 64, 16, {{2, 990, 8}}, 256);
  add("long", 4, 64, 700, {{1, 12340, 2}}, 3100);
  add("long_ties", 3, 64, 700, {{2, 12344, 1}}, 3100, {.kind = Fill::Kind::kTies});
  add("ties", 4, 64, 16, {{0, 400, 3}}, 128, {.kind = Fill::Kind::kTies});
  add("heads64", 64, 128, 32, {{0, 799, 1}, {1, 300, 4}}, 256);
  add("odd", 3, 32, 5, {{0, 301, 3}}, 80);
  add("fp4_query", 64, 128, 32, {{0, 799, 1}, {1, 300, 4}}, 256, {.kind = Fill::Kind::kFp4, .scale = 2});
  add("wild_query", 5, 128, 32, {{1, 700, 9}}, 256, {.kind = Fill::Kind::kWild});
}

void add_attend(std::vector<Case>& cases, const Mode& mode) {
  const auto add = [&](const std::string& name, int heads, int dim, int tail, int window, int ratio, int k,
                       std::vector<Segment> segments, int32_t live = 0, int64_t capacity = 90, float steep = 3) {
    const AttendSpec spec{.window = window,
                          .ratio = ratio,
                          .top_k = k,
                          .format = kv_format(mode, dim, tail),
                          .scale = 0.0883883f,
                          .rounds = mode.rounds};
    const Fill rows{.kind = Fill::Kind::kRows, .format = spec.format};
    std::vector<TensorType> inputs{{mode.x, Shape{12, heads, dim}},
                                   {DType::kU8, Shape{3, window + 12, spec.format.bytes()}},
                                   {DType::kF32, Shape{heads}}};
    std::vector<Fill> fills{{.scale = steep}, rows, {}};
    if (ratio > 0) inputs.push_back({DType::kU8, Shape{3, capacity, spec.format.bytes()}}), fills.push_back(rows);
    if (k > 0) {
      inputs.push_back({DType::kI32, Shape{12, k}});
      int32_t complete = static_cast<int32_t>(capacity);
      for (const Segment& s : segments) complete = std::min(complete, (s.position + 1) / ratio);
      fills.push_back({.kind = Fill::Kind::kSortedIds, .low = 0, .high = complete, .live = live});
    }
    cases.push_back({fmt::format("attend_{}_{}", name, mode.name), std::make_shared<Attend>(spec), std::move(inputs),
                     std::move(segments), std::move(fills)});
  };
  add("window_start", 4, 128, 64, 32, 0, 0, {{0, 0, 7}});
  add("window_full", 4, 128, 64, 64, 0, 0, {{1, 500, 12}});
  add("window_crosses", 3, 128, 64, 32, 0, 0, {{0, 26, 12}});
  add("dense", 4, 128, 64, 32, 8, 0, {{0, 300, 5}});
  add("dense_none", 4, 128, 64, 32, 128, 0, {{2, 90, 5}});
  add("dense_long", 2, 128, 64, 64, 8, 0, {{0, 690, 3}});
  add("sparse", 4, 128, 64, 32, 4, 16, {{0, 200, 9}}, 16);
  add("sparse_padded", 4, 128, 64, 32, 4, 40, {{1, 20, 4}, {0, 30, 1}}, 5);
  add("sparse_blocks", 5, 128, 64, 64, 4, 80, {{0, 340, 2}}, 80);
  add("sparse_steep", 5, 128, 64, 64, 4, 80, {{0, 340, 2}}, 80, 90, 40);
  add("dim512", 8, 512, 64, 128, 4, 64, {{0, 355, 1}}, 64);
  add("heads64", 64, 512, 64, 128, 0, 0, {{0, 130, 2}});
  add("tiny", 4, 8, 4, 4, 8, 0, {{0, 21, 6}});
}

}  // namespace

std::vector<Case> attention_cases() {
  std::vector<Case> cases;
  for (const Mode& mode : kModes) {
    add_ring(cases, mode);
    add_pool(cases, mode);
    add_select(cases, mode);
    add_attend(cases, mode);
  }
  for (const DType act : {DType::kBF16, DType::kF32}) add_streams(cases, act);
  return cases;
}

}  // namespace v4rt
