#include "bench/flash_cases.h"

#include "ops/attention/attention.h"
#include "ops/linear/linear.h"
#include "ops/moe/moe.h"

namespace v4rt {
namespace {

constexpr int32_t kChunks[] = {1, 2, 8, 64, 512};

void add_linear(std::vector<Case>& cases) {
  const auto add = [&](const std::string& name, int64_t k, int64_t n, DType weight, DType out, int groups = 1) {
    for (const int32_t tokens : kChunks) {
      cases.push_back({.name = fmt::format("linear_{}_{}x{}_T{}", name, k, n, tokens),
                       .op = std::make_shared<Linear>(out, groups),
                       .inputs = {{DType::kBF16, Shape{tokens, k * groups}}, {weight, Shape{n * groups, k}}},
                       .segments = {{0, 0, tokens}},
                       .fills = {{}}});
    }
  };
  add("wq_a_fp8", 4096, 1024, DType::kFp8, DType::kBF16);
  add("wq_b_fp8", 1024, 32768, DType::kFp8, DType::kBF16);
  add("wo_a_fp8_8_groups", 4096, 1024, DType::kFp8, DType::kBF16, 8);
  add("wo_b_fp8", 8192, 4096, DType::kFp8, DType::kBF16);
  add("head_bf16", 4096, 4096, DType::kBF16, DType::kF32);  // of a vocabulary of 4096
}

// One token reads six experts wherever they are, so few are enough; for a chunk they share its rows as 32 would.
void add_experts(std::vector<Case>& cases) {
  constexpr int64_t kWidth = 4096, kInner = 2048, kPicks = 6;
  for (const int32_t tokens : kChunks) {
    const int32_t experts = tokens == 1 ? 8 : 32;
    const Fill ids{.kind = Fill::Kind::kSortedIds, .low = 0, .high = experts, .live = kPicks};
    const TensorType picks{DType::kI32, Shape{tokens, kPicks}}, up{DType::kFp4, Shape{experts, kInner, kWidth}};
    cases.push_back({.name = fmt::format("moe_gate_up_fp4_E{}_T{}", experts, tokens),
                     .op = std::make_shared<MoeGateUp>(10.0f),
                     .inputs = {{DType::kBF16, Shape{tokens, kWidth}}, picks, {DType::kF32, picks.shape}, up, up},
                     .segments = {{0, 0, tokens}},
                     .fills = {{}, ids, {}, {}, {}}});
    cases.push_back({.name = fmt::format("moe_down_fp4_E{}_T{}", experts, tokens),
                     .op = std::make_shared<MoeDown>(),
                     .inputs = {{DType::kBF16, Shape{tokens, kPicks, kInner}},
                                picks,
                                {DType::kFp4, Shape{experts, kWidth, kInner}},
                                {DType::kBF16, Shape{tokens, kWidth}}},
                     .segments = {{0, 0, tokens}},
                     .fills = {{}, ids, {}, {}}});
  }
}

// Both kinds of compressed attention, and the choice of entries, at the end of 64 Ki positions.
constexpr int32_t kPositions = 65536;
constexpr int kHeads = 64;

void add_attend(std::vector<Case>& cases, const std::string& name, int ratio, int top_k, int32_t tokens) {
  constexpr int kDim = 512, kWindow = 128;
  const RowFormat format{RowFormat::Kind::kFp8Tail, kDim, 64};
  const AttendSpec spec{
      .window = kWindow, .ratio = ratio, .top_k = top_k, .format = format, .scale = 0.0441941738f, .rounds = true};
  const Fill rows{.kind = Fill::Kind::kRows, .format = format};
  const int32_t entries = kPositions / ratio;
  Case c{.name = fmt::format("attend_{}_T{}", name, tokens),
         .op = std::make_shared<Attend>(spec),
         .inputs = {{DType::kBF16, Shape{tokens, kHeads, kDim}},
                    {DType::kU8, Shape{1, kWindow + tokens, format.bytes()}},
                    {DType::kF32, Shape{kHeads}},
                    {DType::kU8, Shape{1, entries, format.bytes()}}},
         .segments = {{0, kPositions - tokens, tokens}},
         .fills = {{}, rows, {}, rows}};
  if (top_k > 0) {
    c.inputs.push_back({DType::kI32, Shape{tokens, top_k}});
    const int32_t complete = (kPositions - tokens) / ratio;
    c.fills.push_back({.kind = Fill::Kind::kSortedIds, .low = 0, .high = complete, .live = top_k});
  }
  cases.push_back(std::move(c));
}

void add_select(std::vector<Case>& cases, int32_t tokens) {
  constexpr int kDim = 128;
  const RowFormat format{RowFormat::Kind::kFp4, kDim, 0};
  const IndexSpec spec{.ratio = 4, .top_k = 512, .format = format, .weight_scale = 0.0110485435f, .rounds = true};
  cases.push_back(
      {.name = fmt::format("index_select_16Ki_T{}", tokens),
       .op = std::make_shared<IndexSelect>(spec),
       .inputs = {{DType::kBF16, Shape{tokens, kHeads, kDim}},
                  {DType::kBF16, Shape{tokens, kHeads}},
                  {DType::kU8, Shape{1, kPositions / spec.ratio, format.bytes()}}},
       .segments = {{0, kPositions - tokens, tokens}},
       .fills = {{.kind = Fill::Kind::kFp4, .scale = 2}, {}, {.kind = Fill::Kind::kRows, .format = format}}});
}

}  // namespace

std::vector<Case> flash_cases() {
  std::vector<Case> cases;
  add_linear(cases);
  add_experts(cases);
  for (const int32_t tokens : {1, 64}) {
    add_attend(cases, "sparse", 4, 512, tokens);
    add_attend(cases, "dense", 128, 0, tokens);
    add_select(cases, tokens);
  }
  return cases;
}

}  // namespace v4rt
