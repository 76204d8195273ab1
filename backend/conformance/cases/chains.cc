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

}  // namespace

std::vector<Case> chain_cases() {
  std::vector<Case> cases;
  for (const DType x : {DType::kBF16, DType::kF32}) add_chains(cases, x);
  for (const int64_t k : {64, 4096, 5120}) add_products(cases, k == 64 ? DType::kF32 : DType::kBF16, k);
  return cases;
}

}  // namespace v4rt
