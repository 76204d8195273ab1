#include "backend/conformance/case.h"
#include "backend/conformance/chain.h"
#include "ops/attention/attention.h"
#include "ops/hyper/hyper.h"
#include "ops/linear/linear.h"
#include "ops/moe/moe.h"
#include "ops/norm/norm.h"
#include "ops/quant/quant.h"
#include "ops/rope/rope.h"

namespace v4rt {
namespace {

OpPart::From in(int input) { return {.input = input, .range = {}}; }
OpPart::From made_by(int part) { return in(-1 - part); }

OpPart part(OpPtr op, std::vector<OpPart::From> inputs) { return {std::move(op), std::move(inputs)}; }

const RopeTable kRope{.dims = 64, .theta = 160000, .factor = 16, .original_context = 65536};

OpPtr norm() { return std::make_shared<RmsNorm>(1e-6f); }
OpPtr rope() { return std::make_shared<RopeTail>(kRope, false); }
OpPtr fp8(int block = 128, int dims = 0) { return std::make_shared<FakeQuant>(QuantGrid::kFp8, block, dims); }

// Ops of V4's layers that follow each other or stand side by side, in rows of tokens or of heads.
void add_chains(std::vector<Case>& cases, DType x) {
  const std::vector<Segment> segments{{2, 30, 4}, {0, 5, 2}};
  const auto add = [&](const std::string& name, std::vector<OpPart> parts, std::vector<TensorType> inputs,
                       std::vector<Fill> fills = {{}}) {
    auto op = std::make_shared<Chain>(std::move(parts), inputs);
    cases.push_back(
        {fmt::format("chain_{}_{}", name, info(x).name), std::move(op), std::move(inputs), segments, std::move(fills)});
  };
  const HyperSpec hyper{.streams = 4};
  add("hyper", {part(std::make_shared<HcPre>(hyper), {in(0), in(1), in(2), in(3), in(4)}), part(fp8(), {made_by(0)})},
      {{x, Shape{9, 4, 320}},
       {DType::kF32, Shape{24, 1280}},
       {DType::kF32, Shape{3}},
       {DType::kF32, Shape{24}},
       {DType::kBF16, Shape{320}}},
      {{}, {.scale = 0.05f}, {}, {.scale = 2}, {}});
  add("norm", {part(norm(), {in(0), in(1)}), part(fp8(), {made_by(0)})},
      {{x, Shape{9, 1536}}, {DType::kBF16, Shape{1536}}});
  add("heads", {part(std::make_shared<HeadRms>(1e-6f), {in(0)}), part(rope(), {made_by(0)})}, {{x, Shape{9, 5, 128}}});
  add("keys",
      {part(rope(), {in(0)}), part(std::make_shared<Hadamard>(), {made_by(0)}),
       part(std::make_shared<FakeQuant>(QuantGrid::kFp4, 32), {made_by(1)})},
      {{x, Shape{9, 3, 128}}});
  add("swiglu", {part(std::make_shared<Swiglu>(7.0f), {in(0)}), part(fp8(), {made_by(0)})}, {{x, Shape{9, 2 * 600}}});

  const RowFormat row{x == DType::kBF16 ? RowFormat::Kind::kFp8Tail : RowFormat::Kind::kF32, 192,
                      x == DType::kBF16 ? 64 : 0};
  const TensorType ring{DType::kU8, Shape{3, 7, row.bytes()}};
  const Fill rows{.kind = Fill::Kind::kRows, .format = row};
  const std::vector<OpPart> window{part(norm(), {in(0), in(1)}), part(rope(), {made_by(0)}),
                                   part(fp8(64, 128), {made_by(1)}),
                                   part(std::make_shared<RingAppend>(row), {made_by(2), in(2)})};
  add("window", window, {{x, Shape{9, 192}}, {DType::kBF16, Shape{192}}, ring}, {{}, {}, rows});

  std::vector<OpPart> both = window;
  both.push_back(part(norm(), {in(3), in(4)}));
  both.push_back(part(std::make_shared<HeadRms>(1e-6f), {in(5)}));
  both.push_back(part(fp8(), {made_by(4)}));
  both.push_back(part(rope(), {made_by(5)}));
  const RowFormat numbers{RowFormat::Kind::kF32, 48, 0};
  both.push_back(part(std::make_shared<RingAppend>(numbers), {in(6), in(7)}));
  add("side_by_side", both,
      {{x, Shape{9, 192}},
       {DType::kBF16, Shape{192}},
       ring,
       {x, Shape{9, 1024}},
       {DType::kBF16, Shape{1024}},
       {x, Shape{9, 3, 64}},
       {DType::kF32, Shape{9, 48}},
       {DType::kF32, Shape{3, 10, 48}}},
      {{}, {}, rows, {}, {}, {}, {}, {.kind = Fill::Kind::kRows, .format = numbers}});
}

// Products of one token, of matrices of every type, with results of both; rows that fill no tile.
void add_products(std::vector<Case>& cases, DType x, int64_t k) {
  const auto add = [&](const std::string& name, std::vector<std::pair<DType, int64_t>> matrices) {
    std::vector<OpPart> parts;
    std::vector<TensorType> inputs{{x, Shape{1, k}}, {x, Shape{1, k}}};
    for (const auto& [type, rows] : matrices) {
      const auto out = parts.size() % 2 == 0 ? x : DType::kF32;
      parts.push_back(
          part(std::make_shared<Linear>(out), {in(parts.size() > 1 ? 1 : 0), in(static_cast<int>(inputs.size()))}));
      inputs.push_back({type, Shape{rows, k}});
    }
    auto op = std::make_shared<Chain>(std::move(parts), inputs);
    cases.push_back(
        {fmt::format("chain_{}_{}_K{}", name, info(x).name, k), std::move(op), std::move(inputs), {{0, 5, 1}}, {{}}});
  };
  add("products", {{DType::kFp8, 256}, {DType::kFp8, 128}, {DType::kBF16, 100}, {DType::kFp8, 16}, {DType::kBF16, 3}});
  add("products_of_types", {{DType::kF16, 96}, {DType::kF32, 40}, {DType::kFp4, 160}});
}

// What follows a product of one token column by column; the last columns fill no tile.
void add_columns(std::vector<Case>& cases, DType x, DType weight, DType experts, int64_t d, int64_t k) {
  const TensorType act{x, Shape{1, k}}, w{weight, Shape{d, k}}, picks{x, Shape{1, 3, k}}, ids{DType::kI32, Shape{1, 3}},
      down{experts, Shape{5, d, k}}, streams{x, Shape{1, 4, d}}, mix{DType::kF32, Shape{1, 24}};
  const OpPart product = part(std::make_shared<Linear>(x), {in(0), in(1)}),
               sum = part(std::make_shared<MoeDown>(), {in(2), in(3), in(4), made_by(0)});
  const auto post = [](int made, int first) {
    return part(std::make_shared<HcPost>(4), {made_by(made), in(first), in(first + 1)});
  };
  const Fill experts_of{.kind = Fill::Kind::kIds, .low = 0, .high = 5};
  const auto add = [&](const std::string& name, std::vector<OpPart> parts, std::vector<TensorType> inputs,
                       std::vector<Fill> fills) {
    auto op = std::make_shared<Chain>(std::move(parts), inputs);
    cases.push_back({fmt::format("chain_{}_{}_N{}_K{}", name, info(x).name, d, k),
                     std::move(op),
                     std::move(inputs),
                     {{0, 5, 1}},
                     std::move(fills)});
  };
  add("columns_post", {product, post(0, 2)}, {act, w, streams, mix}, {{}});
  add("columns_down", {product, sum}, {act, w, picks, ids, down}, {{}, {}, {}, experts_of, {}});
  add("columns_down_post", {product, sum, post(1, 5)}, {act, w, picks, ids, down, streams, mix},
      {{}, {}, {}, experts_of, {}, {}, {}});
}

// What a token's launches go on with. Rows of what they make are whole numbers of a work-group's columns, parts of
// them, or neither.
void add_tails(std::vector<Case>& cases, DType x, DType weight) {
  const auto add = [&](const std::string& name, std::vector<OpPart> parts, std::vector<TensorType> inputs,
                       std::vector<Fill> fills = {{}}) {
    auto op = std::make_shared<Chain>(std::move(parts), inputs);
    cases.push_back({fmt::format("tail_{}_{}", name, info(x).name),
                     std::move(op),
                     std::move(inputs),
                     {{2, 31, 1}},
                     std::move(fills)});
  };
  const auto linear = [&](int row, int matrix, DType out) {
    return part(std::make_shared<Linear>(out), {in(row), in(matrix)});
  };
  const RowFormat row{x == DType::kBF16 ? RowFormat::Kind::kFp8Tail : RowFormat::Kind::kF32, 192,
                      x == DType::kBF16 ? 64 : 0};
  const CompressSpec pool{.ratio = 4, .overlap = true, .format = row, .table = kRope, .rounds = x == DType::kBF16};
  const RowFormat plain{RowFormat::Kind::kF32, 2 * pool.width(), 0};
  add("norms",
      {linear(0, 1, x), linear(0, 2, x), part(norm(), {made_by(0), in(3)}), part(fp8(), {made_by(2)}),
       part(norm(), {made_by(1), in(4)})},
      {{x, Shape{1, 256}},
       {weight, Shape{384, 256}},
       {weight, Shape{192, 256}},
       {DType::kBF16, Shape{384}},
       {DType::kBF16, Shape{192}}});
  add("window",
      {linear(0, 1, x), part(rope(), {made_by(0)}), part(std::make_shared<RingAppend>(row), {made_by(1), in(2)})},
      {{x, Shape{1, 256}}, {weight, Shape{192, 256}}, {DType::kU8, Shape{3, 7, row.bytes()}}},
      {{}, {}, {.kind = Fill::Kind::kRows, .format = row}});
  // A chain that overwrites what it has used.
  add("pool",
      {linear(0, 1, DType::kF32), part(std::make_shared<CompressPool>(pool), {made_by(0), in(2), in(3), in(4), in(5)}),
       part(std::make_shared<RingAppend>(plain), {made_by(0), in(2)})},
      {{x, Shape{1, 256}},
       {weight, Shape{plain.dim, 256}},
       {DType::kF32, Shape{3, pool.pending_rows(), plain.dim}},
       {DType::kF32, Shape{4, pool.width()}},
       {DType::kBF16, Shape{192}},
       {DType::kU8, Shape{3, 24, row.bytes()}}},
      {{}, {}, {}, {}, {}, {.kind = Fill::Kind::kRows, .format = row}});
  for (const auto& [heads, k] : {std::pair<int64_t, int64_t>{6, 1024}, {5, 96}}) {
    const auto by_heads = std::make_shared<Linear>(x, 1, LiveRows::kTokens, static_cast<int>(heads));
    add(fmt::format("heads{}", heads),
        {part(by_heads, {in(0), in(1)}), part(std::make_shared<HeadRms>(1e-6f), {made_by(0)}),
         part(rope(), {made_by(1)})},
        {{x, Shape{1, k}}, {weight, Shape{heads * 128, k}}});
  }
  add("groups", {part(std::make_shared<Linear>(x, 4), {in(0), in(1)}), part(fp8(), {made_by(0)})},
      {{x, Shape{1, 1024}}, {weight, Shape{4 * 64, 256}}});
  add("route",
      {linear(0, 1, DType::kF32), linear(4, 2, x), part(std::make_shared<RouteTopK>(3, 1.5f), {made_by(0), in(3)}),
       part(std::make_shared<Swiglu>(7.0f), {made_by(1)}), part(fp8(), {made_by(3)})},
      {{x, Shape{1, 256}},
       {DType::kBF16, Shape{24, 256}},
       {weight, Shape{512, 256}},
       {DType::kF32, Shape{24}},
       {x, Shape{1, 256}}});
  add("experts",
      {part(std::make_shared<MoeGateUp>(10.0f), {in(0), in(1), in(2), in(3), in(4)}), part(fp8(), {made_by(0)})},
      {{x, Shape{1, 256}},
       {DType::kI32, Shape{1, 3}},
       {DType::kF32, Shape{1, 3}},
       {DType::kFp4, Shape{5, 384, 256}},
       {DType::kFp4, Shape{5, 384, 256}}},
      {{}, {.kind = Fill::Kind::kSortedIds, .low = 0, .high = 5, .live = 3}, {}, {}, {}});
  const AttendSpec attend{.window = 7, .format = row, .scale = 0.1f, .rounds = x == DType::kBF16};
  add("attend",
      {part(std::make_shared<Attend>(attend), {in(0), in(1), in(2)}),
       part(std::make_shared<RopeTail>(kRope, true), {made_by(0)})},
      {{x, Shape{1, 20, 192}}, {DType::kU8, Shape{3, 7, row.bytes()}}, {DType::kF32, Shape{20}}},
      {{}, {.kind = Fill::Kind::kRows, .format = row}, {}});
}

}  // namespace

std::vector<Case> tail_cases() {
  std::vector<Case> cases;
  add_tails(cases, DType::kBF16, DType::kFp8);
  add_tails(cases, DType::kF32, DType::kBF16);
  return cases;
}

std::vector<Case> chain_cases() {
  std::vector<Case> cases;
  for (const DType x : {DType::kBF16, DType::kF32}) add_chains(cases, x);
  for (const int64_t k : {64, 4096, 5120}) add_products(cases, k == 64 ? DType::kF32 : DType::kBF16, k);
  add_columns(cases, DType::kBF16, DType::kFp8, DType::kFp4, 200, 256);
  add_columns(cases, DType::kBF16, DType::kFp8, DType::kFp8, 144, 4096);
  add_columns(cases, DType::kF32, DType::kBF16, DType::kFp4, 64, 96);
  return cases;
}

}  // namespace v4rt
