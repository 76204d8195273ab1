#include "graph/evidence/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/faulty_device.h"
#include "tests/support/tiny_model.h"

namespace v4rt {
namespace {

using testing::HasSubstr;

std::shared_ptr<const Model> tiny_model(const std::shared_ptr<Device>& device = create_reference_device(),
                                        NumberMode numbers = NumberMode::kPlain) {
  ModelOptions options = tiny_options();
  options.numbers = numbers;
  options.find_device = [device](std::string_view) { return device; };
  return Model::open(tiny_weights(), options);
}

OpComparison compared(const std::shared_ptr<const Model>& actual) {
  return compare_ops(tiny_model(), actual, tiny_ids(12), 6, [](double) {});
}

// A tiny model on a device with a fault in the second of the `of` ops of that kind: it belongs to layer 1.
OpComparison with_fault(OpKind kind, int of, decltype(Fault::run) run) {
  return compared(tiny_model(std::make_shared<FaultyDevice>(Fault{kind, 1, of, std::move(run)})));
}

// The one op that differs.
const OpError& culprit(const OpComparison& comparison) {
  static const OpError kNone;
  EXPECT_TRUE(comparison.first);
  if (!comparison.first) return kNone;
  const OpError& first = comparison.ops[*comparison.first];
  for (const OpError& op : comparison.ops) EXPECT_TRUE(&op == &first || op.error.equal()) << op.node;
  return first;
}

TEST(CompareOps, TheSameDeviceGivesTheSameBits) {
  for (const NumberMode numbers : {NumberMode::kPlain, NumberMode::kFaithful}) {
    const OpComparison comparison =
        compare_ops(tiny_model(create_reference_device(), numbers),
                    tiny_model(create_device("cpu", {.threads = 2}), numbers), tiny_ids(12), 6, [](double) {});
    EXPECT_FALSE(comparison.first) << comparison.ops[*comparison.first].node;
    EXPECT_THAT(comparison.unmatched, testing::IsEmpty());
    EXPECT_GT(comparison.ops.size(), 60u);
    for (const OpError& op : comparison.ops) EXPECT_GT(op.error.values, 0) << op.node;
  }
}

TEST(CompareOps, NamesAKernelThatIsOffByOneRow) {
  const auto comparison = with_fault(OpKind::kAttend, 3, [](std::span<const Tensor> args, const auto& run) {
    run(args);
    Buffer& out = *args.back().values;
    const size_t row = out.bytes() / static_cast<size_t>(args.back().type.shape[0]);
    std::memmove(out.host() + row, out.host(), out.bytes() - row);
  });
  EXPECT_EQ(culprit(comparison).node, "L01.attn.attend");
  EXPECT_EQ(culprit(comparison).op, "attend");
  EXPECT_EQ(culprit(comparison).first_position, 0);
  EXPECT_GT(culprit(comparison).error.normalised(), 0.1);
}

TEST(CompareOps, NamesAKernelThatIsOffByAThousandth) {
  const auto comparison = with_fault(OpKind::kMoeDown, 3, [](std::span<const Tensor> args, const auto& run) {
    run(args);
    args.back().data<float>()[5] += 1e-3f;
  });
  EXPECT_EQ(culprit(comparison).node, "L01.ffn.experts.down");
  EXPECT_NEAR(culprit(comparison).error.largest, 1e-3, 1e-5);
  EXPECT_EQ(culprit(comparison).error.different, 7);  // one in each step
}

TEST(CompareOps, NamesAKernelThatMakesANan) {
  const auto comparison = with_fault(OpKind::kAttend, 3, [](std::span<const Tensor> args, const auto& run) {
    run(args);
    args.back().data<float>()[3] = std::numeric_limits<float>::quiet_NaN();
  });
  EXPECT_EQ(culprit(comparison).node, "L01.attn.attend");
  EXPECT_EQ(culprit(comparison).error.ulps[ValueError::kNotFinite], 7);
}

// The op reads what its input was in the step before: nothing in the step itself looks wrong.
TEST(CompareOps, NamesAnOpThatReadsASilentCopyOfItsInput) {
  const auto kept = std::make_shared<std::map<size_t, BufferPtr>>();  // by size: one for each plan
  const auto comparison = with_fault(OpKind::kAttend, 3, [kept](std::span<const Tensor> args, const auto& run) {
    std::vector<Tensor> with(args.begin(), args.end());
    BufferPtr& copy = (*kept)[args[0].type.bytes()];
    if (copy == nullptr) copy = copy_of(args[0].values);
    with[0].values = copy;
    run(with);
  });
  EXPECT_EQ(culprit(comparison).node, "L01.attn.attend");
  EXPECT_EQ(culprit(comparison).first_position, 7);  // the first token decoded alone made the copy
}

// What is to be changed in place is changed in a copy, and the state stays as it was.
TEST(CompareOps, NamesAnOpThatChangesASilentCopyOfItsState) {
  const auto comparison = with_fault(OpKind::kRingAppend, 6, [](std::span<const Tensor> args, const auto& run) {
    std::vector<Tensor> with(args.begin(), args.end());
    const BufferPtr state = args.back().values, copy = copy_of(state);
    for (Tensor& tensor : with)
      if (tensor.values == state) tensor.values = copy;
    run(with);
  });
  EXPECT_THAT(culprit(comparison).node, HasSubstr("L01.attn"));
  EXPECT_EQ(culprit(comparison).op, "ring_append");
}

TEST(CompareOps, NeedsTheSameNumbers) {
  EXPECT_THROW(compare_ops(tiny_model(), tiny_model(create_reference_device(), NumberMode::kFaithful), tiny_ids(4), 2,
                           [](double) {}),
               Error);
}

TEST(CompareTexts, EqualModelsSayTheSame) {
  Session a(tiny_model()), b(tiny_model(create_device("cpu", {.threads = 2})));
  const TextComparison text = compare_texts(a, b, tiny_ids(20), 8, [](double) {});
  EXPECT_EQ(text.logits.positions, 19);
  EXPECT_EQ(text.logits.equal, 19);
  EXPECT_EQ(text.logits.same_best, 19);
  EXPECT_EQ(text.logits.first, -1);
  EXPECT_EQ(text.logits.largest_divergence, 0);
  EXPECT_EQ(text.said_alike, 8);
}

TEST(CompareTexts, MeasuresHowFarOthersAre) {
  Session a(tiny_model()), b(tiny_model(create_reference_device(), NumberMode::kFaithful));
  const TextComparison text = compare_texts(a, b, tiny_ids(20), 8, [](double) {});
  EXPECT_LT(text.logits.equal, 19);
  EXPECT_GE(text.logits.first, 0);
  EXPECT_GT(text.logits.largest, 0);
  EXPECT_GT(text.logits.mean_divergence(), 0);
  EXPECT_GE(text.logits.largest_divergence, text.logits.mean_divergence());
  EXPECT_LT(text.logits.mean_divergence(), 0.1);  // roundings
}

TEST(CompareValues, CountsPlacesOfTheType) {
  const auto f32 = [](std::vector<float> expected, std::vector<float> actual) {
    const TensorType type{.dtype = DType::kF32, .shape = {static_cast<int64_t>(expected.size())}};
    return compare_values(type, {}, std::as_bytes(std::span(expected)), std::as_bytes(std::span(actual)));
  };
  const float nan = std::numeric_limits<float>::quiet_NaN(), next = std::nextafter(1.0f, 2.0f);
  const ValueError one = f32({1, 2, nan, -0.0f}, {next, 2, -nan, 0.0f});
  EXPECT_EQ(one.values, 4);
  EXPECT_EQ(one.different, 2);  // a zero of the other sign has other bits
  EXPECT_EQ(one.ulps[0], 2);
  EXPECT_EQ(one.largest, next - 1.0f);
  const ValueError lost = f32({1, 3}, {nan, 3});
  EXPECT_EQ(lost.ulps[ValueError::kNotFinite], 1);
  EXPECT_EQ(f32({3, 4}, {3, 4.5}).normalised(), 0.1);
  EXPECT_EQ(f32({0}, {1}).normalised(), std::numeric_limits<double>::infinity());
  EXPECT_EQ(f32({-1e-45f}, {1e-45f}).ulps[1], 1);  // across zero

  const std::vector<uint16_t> bf16 = {0x3f80, 0x4000}, near = {0x3f81, 0x4010};
  const ValueError rounded = compare_values({.dtype = DType::kBF16, .shape = {2}}, {}, std::as_bytes(std::span(bf16)),
                                            std::as_bytes(std::span(near)));
  EXPECT_EQ(rounded.ulps[0], 1);
  EXPECT_EQ(rounded.ulps[3], 1);

  const std::vector<int32_t> ids = {7, -1}, others = {7, 4};
  const ValueError whole = compare_values({.dtype = DType::kI32, .shape = {2}}, {}, std::as_bytes(std::span(ids)),
                                          std::as_bytes(std::span(others)));
  EXPECT_EQ(whole.largest, 5);
  EXPECT_EQ(whole.different, 1);
}

}  // namespace
}  // namespace v4rt
