#include "graph/evidence/receipt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/tiny_model.h"

namespace v4rt {
namespace {

using testing::HasSubstr;

std::shared_ptr<const Model> tiny_model(bool mtp = true) {
  ModelOptions options = tiny_options();
  options.mtp = mtp;
  return Model::open(tiny_weights(), options);
}

Receipt tiny_receipt() {
  Session session(tiny_model());
  size_t rows = 0;
  Receipt receipt = make_receipt(session, tiny_ids(10), 4, [&](size_t done) { rows = done; });
  EXPECT_EQ(rows, 14u);
  return receipt;
}

std::string message_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

TEST(Receipt, HasTheHashesOfWhatASessionSays) {
  const Receipt receipt = tiny_receipt();
  ASSERT_EQ(receipt.rows.size(), 14u);
  EXPECT_EQ(receipt.prompt_tokens, 10);
  Session session(tiny_model(false));
  for (size_t i = 0; i < receipt.rows.size(); ++i) {
    const ReceiptRow& row = receipt.rows[i];
    EXPECT_EQ(row.token, i < 10 ? tiny_ids(10)[i] : receipt.rows[i - 1].best);
    const auto logits = session.feed({&row.token, 1});
    EXPECT_EQ(row.logits, hash_of(std::as_bytes(logits))) << i;
    EXPECT_EQ(row.best_logit, *std::max_element(logits.begin(), logits.end()));
    EXPECT_EQ(row.mtp.has_value(), i < 9) << i;  // the next token of the last one is not known
  }
}

TEST(Receipt, IsReadAsItWasWritten) {
  const Receipt receipt = tiny_receipt();
  const std::string text = to_json_lines(receipt);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 15);
  const Receipt read = parse_receipt(text, "r");
  EXPECT_EQ(to_json_lines(read), text);
  Session session(tiny_model());
  EXPECT_FALSE(check_receipt(session, read, [](size_t) {}));
}

TEST(Receipt, TheFirstDifferenceIsNamed) {
  const auto difference_of = [](const std::function<void(Receipt&)>& change) -> std::string {
    Receipt receipt = tiny_receipt();
    change(receipt);
    Session session(tiny_model());
    const auto difference = check_receipt(session, receipt, [](size_t) {});
    return difference ? describe(*difference, receipt, session.model()) : "none";
  };
  EXPECT_EQ(difference_of([](Receipt&) {}), "none");
  const std::string changed = difference_of([](Receipt& r) { ++r.rows[3].logits[1], ++r.rows[7].logits[0]; });
  EXPECT_THAT(changed, HasSubstr("position 3 of 14, after token 13: the largest logit is"));
  EXPECT_THAT(changed, HasSubstr("others differ; whether the weights are the same is not known"));
  EXPECT_THAT(difference_of([](Receipt& r) { r.rows[2].mtp = Hash{}; }),
              HasSubstr("position 2 of 14, after token 7: the MTP block's"));
  EXPECT_THAT(difference_of([](Receipt& r) { ++r.rows[12].logits[1]; }), HasSubstr("decoded position 12 of 14"));
}

TEST(Receipt, IsHeldToItsNumberModeOnly) {
  const Receipt receipt = tiny_receipt();
  Session session(tiny_model(false));
  EXPECT_THAT(message_of([&] { check_receipt(session, receipt, [](size_t) {}); }), HasSubstr("MTP block"));
}

TEST(Receipt, DamagedFilesAreRefusedByLine) {
  const std::string text = to_json_lines(tiny_receipt());
  const auto refusal = [&](const std::string& from, const std::string& to) {
    std::string damaged = text;
    const size_t at = damaged.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    damaged.replace(at, from.size(), to);
    return message_of([&] { parse_receipt(damaged, "r.jsonl"); });
  };
  EXPECT_THAT(refusal("\"receipt\":1", "\"receipt\":2"), HasSubstr("r.jsonl: line 1: a receipt of format 2"));
  EXPECT_THAT(refusal("\"faithful\"", "\"exact\""), HasSubstr("line 1: 'numbers' is exact"));
  EXPECT_THAT(refusal("\"logits\":\"", "\"logits\":\"x"), HasSubstr("line 2: 'logits' is x"));
  EXPECT_THAT(refusal("\"token\":5", "\"token\":-5"), HasSubstr("line 2: 'token' is -5"));
  EXPECT_THAT(refusal("\"tokens\":14", "\"tokens\":15"), HasSubstr("holds 14 tokens of 15"));
  EXPECT_THAT(message_of([&] { parse_receipt(text.substr(0, text.size() / 2), "r.jsonl"); }), HasSubstr("r.jsonl: "));
  EXPECT_THAT(message_of([&] { parse_receipt("", "r.jsonl"); }), HasSubstr("holds 0 tokens of 0"));
  EXPECT_THAT(message_of([&] { parse_receipt("[1]\n", "r.jsonl"); }), HasSubstr("line 1: is not a JSON object"));
}

}  // namespace
}  // namespace v4rt
