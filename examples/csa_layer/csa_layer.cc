// One layer of compressed sparse attention (CSA) by hand: its graph, its weights and its inputs are this program's. A
// sequence is read in pieces on one device and as a whole on another, and both give the same bits.
// csa_layer [DEVICE [DEVICE]]

#include <cmath>
#include <cstdio>
#include <map>
#include <random>
#include <vector>

#include "backend/registry.h"
#include "graph/ir/builder.h"
#include "graph/runtime/computation.h"
#include "ops/attention/attention.h"
#include "ops/linear/linear.h"
#include "ops/norm/norm.h"
#include "ops/rope/rope.h"

namespace {

using namespace v4rt;

constexpr int kTokens = 48, kContext = 256;         // of a run; of a sequence
constexpr int kWidth = 128, kHeads = 4, kDim = 64;  // of x; of queries and cache rows
constexpr int kIndexHeads = 4, kIndexDim = 32, kTopK = 8;
constexpr int kWindow = 16, kRatio = 4;
constexpr float kEps = 1e-6f;

struct CsaLayer {
  Builder g;
  const RopeTable rope{.dims = 16};
  const RowFormat rows{RowFormat::Kind::kF32, kDim, 0}, keys{RowFormat::Kind::kF32, kIndexDim, 0};

  ValueId weight(const char* name, std::initializer_list<int64_t> shape) {
    return g.weight(name, {DType::kF32, Shape(shape)});
  }
  ValueId cache(const std::string& name, int64_t n, const RowFormat& format) {
    return g.state(name, {DType::kU8, Shape{1, n, format.bytes()}});
  }
  ValueId project(const char* name, ValueId x, int64_t n, int heads = 0) {
    return g.add<Linear>(name, {x, weight(name, {n, g.type(x).shape[-1]})}, DType::kF32, 1, LiveRows::kTokens, heads);
  }

  // Every four positions become one entry, pooled from eight of them.
  ValueId compress(const std::string& name, ValueId x, const RowFormat& format) {
    const CompressSpec spec{.ratio = kRatio, .overlap = true, .format = format, .table = rope, .eps = kEps};
    const ValueId values = project((name + ".wkv_gate").c_str(), x, 2 * spec.width());
    const TensorType pending_type{DType::kF32, Shape{1, spec.pending_rows(), spec.pending_format().dim}};
    const ValueId pending = g.state(name + ".pending", pending_type);
    const ValueId entries = g.add<CompressPool>(
        name + ".pool",
        {values, pending, weight((name + ".ape").c_str(), {kRatio, spec.width()}),
         weight((name + ".norm").c_str(), {format.dim}), cache(name + ".cache", kContext / kRatio, format)},
        spec);
    g.add<RingAppend>(name + ".append", {values, pending}, spec.pending_format());
    return entries;
  }

  Graph build() {
    const ValueId x = g.input("x", {DType::kF32, Shape{kTokens, kWidth}});
    ValueId q = g.add<HeadRms>("q_rms", {project("wq", x, kHeads * kDim, kHeads)}, kEps);
    q = g.add<RopeTail>("q_rope", {q}, rope, false);
    ValueId kv = g.add<RmsNorm>("kv_norm", {project("wkv", x, kDim), weight("kv_norm", {kDim})}, kEps);
    kv = g.add<RopeTail>("kv_rope", {kv}, rope, false);
    const ValueId window = g.add<RingAppend>("window", {kv, cache("window", kWindow + kTokens, rows)}, rows);
    const ValueId entries = compress("kv", x, rows), index_keys = compress("index", x, keys);

    ValueId index_q = project("index.wq", x, kIndexHeads * kIndexDim, kIndexHeads);
    index_q = g.add<RopeTail>("index.rope", {index_q}, rope, false);
    const IndexSpec pick{.ratio = kRatio, .top_k = kTopK, .format = keys, .weight_scale = 1.0f / 16};
    const ValueId chosen =
        g.add<IndexSelect>("index.select", {index_q, project("index.weights", x, kIndexHeads), index_keys}, pick);

    const AttendSpec spec{
        .window = kWindow, .ratio = kRatio, .top_k = kTopK, .format = rows, .scale = 1 / std::sqrt(float{kDim})};
    ValueId o = g.add<Attend>("attend", {q, window, weight("sink", {kHeads}), entries, chosen}, spec);
    o = g.add<RopeTail>("o_rope", {o}, rope, true);
    g.output("y", g.add<Linear>("wo", {o, weight("wo", {kWidth, kHeads * kDim})}, DType::kF32, 1, LiveRows::kTokens,
                                Linear::kFlat));
    return g.take();
  }
};

std::vector<float> numbers(int64_t n, float scale, std::mt19937& random) {
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = normal(random);
  return values;
}

// What the layer makes of x [n, kWidth], read `piece` tokens at a time.
std::vector<float> run(const std::string& device, const std::vector<float>& x, size_t piece) {
  const Graph graph = CsaLayer().build();
  std::map<std::string, std::vector<float>, std::less<>> weights;
  std::mt19937 random(1);
  for (const Value& value : graph.values)
    if (value.origin == Origin::kWeight)
      weights[value.name] = numbers(value.type.shape.elements(), 1 / std::sqrt(float{kWidth}), random);
  Computation layer(graph, {.devices = {create_device(device)}, .rules = {}, .state_devices = {}},
                    [&](std::string_view name) {
                      const ValueId id = graph.find(name, Origin::kWeight);
                      return host_weight(graph.value(id).type, std::as_bytes(std::span(weights.find(name)->second)));
                    });

  std::vector<float> y;
  for (size_t at = 0, n = x.size() / kWidth; at < n; at += piece) {
    const size_t some = std::min(piece, n - at);
    const auto from = x.begin() + static_cast<ptrdiff_t>(at * kWidth);
    layer.write("x", std::vector<float>(from, from + static_cast<ptrdiff_t>(some * kWidth)));
    const Segment segment{.slot = 0, .position = static_cast<int32_t>(at), .n_tokens = static_cast<int32_t>(some)};
    layer.run({&segment, 1});
    std::vector<float> rows(some * kWidth);
    layer.read("y", rows);
    y.insert(y.end(), rows.begin(), rows.end());
  }
  return y;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string first = argc > 1 ? argv[1] : "cpu", second = argc > 2 ? argv[2] : "reference";
  std::mt19937 random(2);
  const std::vector<float> x = numbers(100 * kWidth, 1, random);
  const std::vector<float> in_pieces = run(first, x, 7), at_once = run(second, x, kTokens);
  const bool equal = in_pieces == at_once;
  std::printf("%s, 7 tokens at a time, and %s, %d at a time: %s; y[99] = %.6g %.6g ..\n", first.c_str(), second.c_str(),
              kTokens, equal ? "the same bits" : "other bits", at_once[99 * kWidth], at_once[99 * kWidth + 1]);
  return equal ? 0 : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "csa_layer: %s\n", e.what());
  return 1;
}
