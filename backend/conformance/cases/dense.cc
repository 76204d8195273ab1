#include "backend/conformance/case.h"
#include "ops/basic/basic.h"
#include "ops/layout/repack.h"
#include "ops/linear/linear.h"
#include "ops/norm/norm.h"
#include "ops/quant/quant.h"
#include "ops/rope/rope.h"

namespace v4rt {
namespace {

std::string type_name(DType dtype) { return std::string(info(dtype).name); }

void add_linear(std::vector<Case>& cases) {
  const auto add = [&](DType x, DType w, DType out, int64_t capacity, int32_t live, int64_t n, int64_t k,
                       int groups = 1) {
    cases.push_back({.name = fmt::format("linear_{}_{}_{}_T{}of{}_N{}_K{}_G{}", type_name(x), type_name(w),
                                         type_name(out), live, capacity, n, k, groups),
                     .op = std::make_shared<Linear>(out, groups),
                     .inputs = {{x, Shape{capacity, k * groups}}, {w, Shape{n * groups, k}}},
                     .segments = {{0, 5, live}},
                     .fills = {{}}});
  };
  for (DType w : {DType::kFp4, DType::kFp8, DType::kBF16, DType::kF16, DType::kF32}) {
    for (DType x : {DType::kBF16, DType::kF32}) {
      add(x, w, x, 1, 1, 256, 512);
      add(x, w, x, 8, 5, 96, 384);
      add(x, w, DType::kF32, 40, 33, 40, 128);  // rows that do not fill a group of sixteen
    }
  }
  add(DType::kBF16, DType::kFp8, DType::kBF16, 160, 150, 272, 256);  // rows and outputs of more than one task
  add(DType::kF32, DType::kF32, DType::kF32, 4, 3, 5, 7);            // odd K, few rows
  add(DType::kBF16, DType::kBF16, DType::kBF16, 4, 4, 19, 9);
  add(DType::kBF16, DType::kFp8, DType::kBF16, 3, 2, 130, 200);  // partial scale blocks
  add(DType::kF32, DType::kFp4, DType::kF32, 3, 3, 17, 96);
  add(DType::kBF16, DType::kFp8, DType::kBF16, 1, 1, 64, 256, 4);
  add(DType::kBF16, DType::kFp8, DType::kBF16, 9, 9, 64, 256, 2);
  add(DType::kF32, DType::kBF16, DType::kF32, 5, 4, 24, 48, 3);
  add(DType::kBF16, DType::kFp8, DType::kBF16, 1, 1, 300, 40);   // more rows than work-items, a block or two each
  add(DType::kBF16, DType::kFp4, DType::kBF16, 1, 1, 48, 5120);  // more blocks than a work-group takes at once
  add(DType::kF32, DType::kBF16, DType::kF32, 1, 1, 20, 5000);
  cases.push_back({.name = "linear_streams",
                   .op = std::make_shared<Linear>(DType::kBF16),
                   .inputs = {{DType::kBF16, Shape{6, 4, 128}}, {DType::kFp8, Shape{128, 128}}},
                   .segments = {{0, 0, 5}},
                   .fills = {{}}});
  cases.push_back({.name = "linear_joins_heads",
                   .op = std::make_shared<Linear>(DType::kBF16, 2, LiveRows::kTokens, Linear::kFlat),
                   .inputs = {{DType::kBF16, Shape{6, 4, 64}}, {DType::kFp8, Shape{64, 128}}},
                   .segments = {{0, 0, 5}},
                   .fills = {{}}});
  cases.push_back({.name = "linear_splits_heads",
                   .op = std::make_shared<Linear>(DType::kF32, 1, LiveRows::kTokens, 4),
                   .inputs = {{DType::kF32, Shape{3, 64}}, {DType::kFp8, Shape{256, 64}}},
                   .segments = {{0, 0, 2}},
                   .fills = {{}}});
  cases.push_back({.name = "linear_segments",
                   .op = std::make_shared<Linear>(DType::kF32, 1, LiveRows::kSegments),
                   .inputs = {{DType::kBF16, Shape{3, 64}}, {DType::kBF16, Shape{100, 64}}},
                   .segments = {{0, 0, 2}, {2, 4, 1}},
                   .fills = {{}}});
}

void add_row_ops(std::vector<Case>& cases) {
  for (DType x : {DType::kBF16, DType::kF32}) {
    const std::string t = type_name(x);
    const auto add = [&](const std::string& name, OpPtr op, std::vector<TensorType> inputs, int32_t live,
                         Fill fill = {}) {
      cases.push_back({name + "_" + t, std::move(op), std::move(inputs), {{0, 70, live}}, {fill}});
    };
    for (int64_t n : {1, 7, 64, 100, 512, 4096}) {
      add(fmt::format("rms_norm_{}", n), std::make_shared<RmsNorm>(1e-6f), {{x, Shape{4, n}}, {DType::kBF16, Shape{n}}},
          3);
    }
    add("rms_norm_streams", std::make_shared<RmsNorm>(1e-6f), {{x, Shape{4, 3, 128}}, {DType::kF32, Shape{128}}}, 3);
    for (int64_t d : {8, 128, 512})
      add(fmt::format("head_rms_{}", d), std::make_shared<HeadRms>(1e-6f), {{x, Shape{3, 5, d}}}, 2);

    const RopeTable main{.dims = 64};
    const RopeTable yarn{.dims = 64, .theta = 160000, .factor = 16, .original_context = 65536};
    const RopeTable tiny{.dims = 4, .theta = 160000, .factor = 16, .original_context = 65536};
    add("rope_main", std::make_shared<RopeTail>(main, false), {{x, Shape{5, 3, 128}}}, 4);
    add("rope_yarn_inverse", std::make_shared<RopeTail>(yarn, true), {{x, Shape{5, 2, 512}}}, 5);
    add("rope_rows", std::make_shared<RopeTail>(tiny, false), {{x, Shape{5, 8}}}, 5);
    cases.push_back(
        {"rope_far_" + t, std::make_shared<RopeTail>(main, false), {{x, Shape{4, 2, 64}}}, {{0, 1048570, 4}}, {{}}});

    for (auto kind : {Fill::Kind::kNormal, Fill::Kind::kWild}) {
      const std::string k = kind == Fill::Kind::kWild ? "_wild" : "";
      add("fake_quant_fp8" + k, std::make_shared<FakeQuant>(QuantGrid::kFp8, 128), {{x, Shape{4, 384}}}, 3,
          {.kind = kind});
      add("fake_quant_fp8_head" + k, std::make_shared<FakeQuant>(QuantGrid::kFp8, 64, 448), {{x, Shape{4, 512}}}, 4,
          {.kind = kind});
      add("fake_quant_fp8_tail" + k, std::make_shared<FakeQuant>(QuantGrid::kFp8, 128), {{x, Shape{2, 200}}}, 2,
          {.kind = kind});
      add("fake_quant_fp4" + k, std::make_shared<FakeQuant>(QuantGrid::kFp4, 32), {{x, Shape{4, 3, 128}}}, 3,
          {.kind = kind});
    }
    for (int64_t n : {8, 64, 128})
      add(fmt::format("hadamard_{}", n), std::make_shared<Hadamard>(), {{x, Shape{3, 4, n}}}, 2);
    add("add_streams", std::make_shared<AddStreams>(), {{x, Shape{4, 96}}, {x, Shape{4, 4, 96}}}, 3);

    for (DType table : {DType::kBF16, DType::kF32}) {
      for (int copies : {0, 4}) {
        cases.push_back({fmt::format("embed_{}_{}_{}", t, type_name(table), copies),
                         std::make_shared<EmbedRows>(x, copies),
                         {{DType::kI32, Shape{5}}, {table, Shape{30, 72}}},
                         {{0, 0, 3}},
                         {{.kind = Fill::Kind::kIds, .low = 0, .high = 30}, {}}});
      }
    }
    cases.push_back({"take_last_" + t,
                     std::make_shared<TakeLast>(4),
                     {{x, Shape{9, 4, 40}}},
                     {{1, 3, 2}, {0, 0, 5}, {2, 9, 1}},
                     {{}}});
  }
}

void add_repack(std::vector<Case>& cases) {
  for (DType w : {DType::kFp4, DType::kFp8, DType::kBF16, DType::kF16, DType::kF32}) {
    const auto add = [&](const Shape& shape) {
      cases.push_back({fmt::format("repack_{}_{}", type_name(w), fmt::join(shape.dims(), "x")),
                       std::make_shared<Repack>(Layout::kRows16),
                       {{w, shape}},
                       {{0, 0, 1}},
                       {{}}});
    };
    add(Shape{64, 256});
    add(Shape{19, 32});
    add(Shape{3, 48, 64});
  }
  cases.push_back(
      {"repack_odd", std::make_shared<Repack>(Layout::kRows16), {{DType::kBF16, Shape{5, 7}}}, {{0, 0, 1}}, {{}}});
}

}  // namespace

std::vector<Case> dense_cases() {
  std::vector<Case> cases;
  add_linear(cases);
  add_row_ops(cases);
  add_repack(cases);
  return cases;
}

}  // namespace v4rt
