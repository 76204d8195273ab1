#include "graph/evidence/golden.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graph/evidence/compare.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/tiny_model.h"

namespace v4rt {
namespace {

using testing::HasSubstr;

constexpr int64_t kVocabulary = 32;  // of the tiny model

template <class T>
RawTensor tensor(const std::string& name, const std::string& dtype, std::vector<int64_t> shape,
                 const std::vector<T>& values) {
  return {name, dtype, std::move(shape),
          std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T))};
}

std::vector<float> logits_of(std::span<const int32_t> ids) {
  Session session(Model::open(tiny_weights(), tiny_options()));
  std::vector<float> all;
  session.score(ids, [&](int64_t, std::span<const float> row, std::span<const float>) {
    all.insert(all.end(), row.begin(), row.end());
  });
  return all;
}

class Golden : public testing::Test {
 protected:
  std::vector<GoldenText> read(const std::vector<RawTensor>& tensors, std::span<const int32_t> ids = {}) const {
    return read_golden(folder_.write("golden.safetensors", safetensors_bytes(tensors, 3)), kVocabulary, ids);
  }
  std::string refusal(const std::vector<RawTensor>& tensors) const {
    try {
      read(tensors);
    } catch (const Error& e) {
      return e.what();
    }
    return "none";
  }

  TempFolder folder_;
  const std::vector<int32_t> ids_ = tiny_ids(9);
  const std::vector<float> logits_ = logits_of(ids_);
};

TEST_F(Golden, AModelIsHeldToEveryTextOfTheFile) {
  std::vector<float> changed(logits_.begin() + 2 * kVocabulary, logits_.begin() + 4 * kVocabulary);
  changed[kVocabulary + 5] += 0.25f;
  const auto texts =
      read({tensor("whole.ids", "I32", {9}, ids_), tensor("whole.logits", "F32", {9, kVocabulary}, logits_),
            tensor("some.ids", "I64", {9}, std::vector<int64_t>(ids_.begin(), ids_.end())),
            tensor("some.positions", "I32", {2}, std::vector<int32_t>{2, 3}),
            tensor("some.logits", "F32", {2, kVocabulary}, changed),
            tensor("some.mtp_logits", "BF16", {1}, std::vector<int16_t>{1})});
  ASSERT_EQ(texts.size(), 2u);
  for (const GoldenText& text : texts) {
    Session session(Model::open(tiny_weights(), tiny_options()));
    const LogitError error = compare_golden(text, session, [](double) {});
    if (text.name == "whole") {
      EXPECT_EQ(error.positions, 9);
      EXPECT_EQ(error.equal, 9);
      EXPECT_EQ(error.first, -1);
      continue;
    }
    EXPECT_EQ(text.name, "some");
    EXPECT_EQ(error.positions, 2);
    EXPECT_EQ(error.equal, 1);
    EXPECT_EQ(error.first, 3);
    EXPECT_NEAR(error.largest, 0.25, 1e-5);
    EXPECT_GT(error.divergence, 0);
    EXPECT_EQ(error.mean_divergence(), error.divergence / 2);
  }
}

TEST_F(Golden, LogitsWithoutIdsBelongToTheText) {
  const auto texts = read({tensor("logits", "F32", {9, kVocabulary}, logits_)}, ids_);
  ASSERT_EQ(texts.size(), 1u);
  EXPECT_EQ(texts[0].name, "");
  EXPECT_EQ(texts[0].ids, ids_);
}

TEST_F(Golden, OtherFilesAreRefusedWithTheFact) {
  const RawTensor ids = tensor("a.ids", "I32", {9}, ids_),
                  logits = tensor("a.logits", "F32", {9, kVocabulary}, logits_);
  EXPECT_THAT(refusal({ids}), HasSubstr("there is no tensor 'logits'"));
  EXPECT_THAT(refusal({logits}), HasSubstr("expected F32 [0, 32], for a text of 0 tokens"));
  EXPECT_THAT(refusal({tensor("a.ids", "I32", {8}, tiny_ids(8)), logits}),
              HasSubstr("tensor 'a.logits' is F32 [9, 32]; expected F32 [8, 32]"));
  EXPECT_THAT(refusal({tensor("a.ids", "I32", {1}, std::vector<int32_t>{32}), logits}),
              HasSubstr("number 0 is 32; from 0 to 31"));
  EXPECT_THAT(refusal({tensor("a.ids", "F32", {1}, std::vector<float>{1}), logits}), HasSubstr("expected I32 or I64"));
  EXPECT_THAT(refusal({ids, tensor("a.positions", "I32", {2}, std::vector<int32_t>{3, 3}), logits}),
              HasSubstr("do not ascend"));
  EXPECT_THAT(refusal({ids, tensor("a.positions", "I32", {1}, std::vector<int32_t>{9}), logits}),
              HasSubstr("number 0 is 9; from 0 to 8"));
  EXPECT_THAT(refusal({ids, tensor("a.logits", "BF16", {9, 16}, std::vector<int16_t>(9 * 16))}),
              HasSubstr("'a.logits' is BF16 [9, 16]"));
}

}  // namespace
}  // namespace v4rt
