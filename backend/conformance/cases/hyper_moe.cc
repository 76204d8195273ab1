#include "backend/conformance/case.h"
#include "ops/hyper/hyper.h"
#include "ops/moe/moe.h"

namespace v4rt {
namespace {

// Of numbers so large, exponentials come to the end of the normal range.
constexpr float kSteep = 60;

}  // namespace

std::vector<Case> hyper_cases() {
  std::vector<Case> cases;
  for (DType x : {DType::kBF16, DType::kF32}) {
    const std::string t(info(x).name);
    for (int64_t d : {16, 100, 128, 1024}) {
      for (int m : {4, 2}) {
        const int64_t n = 2 * m + m * m;
        const HyperSpec spec{.streams = m};
        const std::vector<Fill> fills{{}, {.scale = 0.05f}, {}, {.scale = 2}, {}};
        const auto inputs = [&](int64_t mixes, int64_t scales) {
          return std::vector<TensorType>{{x, Shape{5, m, d}},
                                         {DType::kF32, Shape{mixes, m * d}},
                                         {DType::kF32, Shape{scales}},
                                         {DType::kF32, Shape{mixes}},
                                         {DType::kBF16, Shape{d}}};
        };
        const std::string name = fmt::format("{}_m{}_d{}", t, m, d);
        cases.push_back({"hc_pre_" + name, std::make_shared<HcPre>(spec), inputs(n, 3), {{0, 0, 4}}, fills});
        if (d == 16)
          cases.push_back({"hc_pre_steep_" + name,
                           std::make_shared<HcPre>(spec),
                           inputs(n, 3),
                           {{0, 0, 4}},
                           {{}, {.scale = 0.05f}, {}, {.scale = kSteep}, {}}});
        cases.push_back(
            {"hc_head_" + name, std::make_shared<HcHead>(spec, LiveRows::kTokens), inputs(m, 1), {{0, 0, 3}}, fills});
        cases.push_back({"hc_post_" + name,
                         std::make_shared<HcPost>(m),
                         {{x, Shape{5, d}}, {x, Shape{5, m, d}}, {DType::kF32, Shape{5, n}}},
                         {{0, 0, 4}},
                         {{}}});
      }
    }
    cases.push_back({"hc_head_segments_" + t,
                     std::make_shared<HcHead>(HyperSpec{}, LiveRows::kSegments),
                     {{x, Shape{4, 4, 64}},
                      {DType::kF32, Shape{4, 256}},
                      {DType::kF32, Shape{1}},
                      {DType::kF32, Shape{4}},
                      {DType::kF32, Shape{64}}},
                     {{0, 0, 1}, {1, 7, 1}},
                     {{}}});
  }
  return cases;
}

std::vector<Case> moe_cases() {
  std::vector<Case> cases;
  for (int64_t experts : {4, 8, 256}) {
    for (int k : {1, 2, 6}) {
      if (k > experts) continue;
      const std::string name = fmt::format("E{}_k{}", experts, k);
      cases.push_back({"route_topk_" + name,
                       std::make_shared<RouteTopK>(k, 1.5f),
                       {{DType::kF32, Shape{7, experts}}, {DType::kF32, Shape{experts}}},
                       {{0, 0, 5}},
                       {{.scale = 3}, {.scale = 0.1f}}});
      cases.push_back({"route_topk_ties_" + name,
                       std::make_shared<RouteTopK>(k, 2.5f),
                       {{DType::kF32, Shape{7, experts}}, {DType::kF32, Shape{experts}}},
                       {{0, 0, 6}},
                       {{.kind = Fill::Kind::kTies}, {.kind = Fill::Kind::kTies}}});
      cases.push_back({"route_hash_" + name,
                       std::make_shared<RouteHash>(k, 1.5f),
                       {{DType::kF32, Shape{7, experts}}, {DType::kI32, Shape{40, k}}, {DType::kI32, Shape{7}}},
                       {{0, 0, 5}},
                       {{.scale = 3},
                        {.kind = Fill::Kind::kTable, .low = 0, .high = static_cast<int32_t>(experts)},
                        {.kind = Fill::Kind::kIds, .low = 0, .high = 40}}});
      if (k == 2)
        cases.push_back({"route_hash_steep_" + name,
                         std::make_shared<RouteHash>(k, 1.5f),
                         {{DType::kF32, Shape{70, experts}}, {DType::kI32, Shape{40, k}}, {DType::kI32, Shape{70}}},
                         {{0, 0, 70}},
                         {{.scale = kSteep},
                          {.kind = Fill::Kind::kTable, .low = 0, .high = static_cast<int32_t>(experts)},
                          {.kind = Fill::Kind::kIds, .low = 0, .high = 40}}});
    }
  }
  for (DType x : {DType::kBF16, DType::kF32}) {
    const std::string t(info(x).name);
    cases.push_back(
        {"swiglu_" + t, std::make_shared<Swiglu>(10.0f), {{x, Shape{4, 192}}}, {{0, 0, 3}}, {{.scale = 8}}});
    cases.push_back(
        {"swiglu_no_limit_" + t, std::make_shared<Swiglu>(0.0f), {{x, Shape{4, 192}}}, {{0, 0, 3}}, {{.scale = 8}}});
    cases.push_back(
        {"swiglu_steep_" + t, std::make_shared<Swiglu>(0.0f), {{x, Shape{8, 4000}}}, {{0, 0, 8}}, {{.scale = kSteep}}});
    cases.push_back({"moe_gate_up_steep_" + t,
                     std::make_shared<MoeGateUp>(10.0f),
                     {{x, Shape{40, 32}},
                      {DType::kI32, Shape{40, 2}},
                      {DType::kF32, Shape{40, 2}},
                      {DType::kBF16, Shape{4, 64, 32}},
                      {DType::kBF16, Shape{4, 64, 32}}},
                     {{0, 0, 33}},
                     {{.scale = 10}, {.kind = Fill::Kind::kSortedIds, .low = 0, .high = 4, .live = 2}, {}, {}, {}}});
    for (int64_t d : {100, 1040}) {
      cases.push_back({fmt::format("moe_sum_{}_d{}", t, d),
                       std::make_shared<MoeSum>(),
                       {{x, Shape{5, 6, d}}, {x, Shape{5, d}}},
                       {{0, 0, 4}},
                       {{}}});
    }
    for (DType w : {DType::kFp4, DType::kFp8, DType::kBF16, DType::kF32}) {
      for (int32_t live : {1, 3, 12, 21, 140}) {
        // Of 12, some experts have several rows, but few; of 140, picks and outputs are of more than one task.
        if ((live == 12 || live == 140) && (w != DType::kFp4 || x != DType::kBF16)) continue;
        const int32_t experts = live == 140 ? 3 : 8;
        const int64_t k = 2, d = 128,
                      inner = live == 3     ? (w == DType::kFp4 ? 96 : 40)
                              : live == 140 ? 288
                                            : 128,
                      capacity = live == 1 ? 1 : live + 2;
        const Fill rows =
            w == DType::kFp4 ? Fill{.kind = Fill::Kind::kFp8, .scale = 60} : Fill{};  // like the activations of experts
        const Fill ids{.kind = Fill::Kind::kSortedIds, .low = 0, .high = experts, .live = 2};
        const std::string name = fmt::format("{}_{}_T{}", t, info(w).name, live);
        cases.push_back({"moe_gate_up_" + name,
                         std::make_shared<MoeGateUp>(10.0f),
                         {{x, Shape{capacity, d}},
                          {DType::kI32, Shape{capacity, k}},
                          {DType::kF32, Shape{capacity, k}},
                          {w, Shape{experts, inner, d}},
                          {w, Shape{experts, inner, d}}},
                         {{0, 0, live}},
                         {rows, ids, {}, {}, {}}});
        cases.push_back({"moe_down_" + name,
                         std::make_shared<MoeDown>(),
                         {{x, Shape{capacity, k, inner}},
                          {DType::kI32, Shape{capacity, k}},
                          {w, Shape{experts, d, inner}},
                          {x, Shape{capacity, d}}},
                         {{0, 0, live}},
                         {rows, ids, {}, {}}});
        // A range of experts: rows of other picks stay as they are.
        const int32_t some = std::min(experts - 1, 3);
        cases.push_back({"moe_gate_up_range_" + name,
                         std::make_shared<MoeGateUp>(10.0f, 1),
                         {{x, Shape{capacity, d}},
                          {DType::kI32, Shape{capacity, k}},
                          {DType::kF32, Shape{capacity, k}},
                          {w, Shape{some, inner, d}},
                          {w, Shape{some, inner, d}},
                          {x, Shape{capacity, k, inner}}},
                         {{0, 0, live}},
                         {rows, ids, {}, {}, {}, {}}});
        cases.push_back(
            {"moe_down_parts_" + name,
             std::make_shared<MoeDownParts>(),
             {{x, Shape{capacity, k, inner}}, {DType::kI32, Shape{capacity, k}}, {w, Shape{some, d, inner}}},
             {{0, 0, live}},
             {rows, ids, {}}});
        cases.push_back({"moe_down_parts_range_" + name,
                         std::make_shared<MoeDownParts>(2),
                         {{x, Shape{capacity, k, inner}},
                          {DType::kI32, Shape{capacity, k}},
                          {w, Shape{some, d, inner}},
                          {x, Shape{capacity, k, d}}},
                         {{0, 0, live}},
                         {rows, ids, {}, {}}});
      }
    }
  }
  return cases;
}

std::vector<Case> all_cases() {
  std::vector<Case> cases = dense_cases();
  for (auto* more : {&attention_cases, &hyper_cases, &moe_cases, &chain_cases}) {
    for (Case& c : (*more)()) cases.push_back(std::move(c));
  }
  return cases;
}

}  // namespace v4rt
