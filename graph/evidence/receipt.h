#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/runtime/session.h"
#include "ops/core/hash.h"

namespace v4rt {

// What was said after one token.
struct ReceiptRow {
  int32_t token = 0;        // that was fed
  Hash logits = {};         // of their bytes, F32 [V]
  std::optional<Hash> mtp;  // of the MTP block's, where it has any
  int32_t best = 0;         // the token with the largest logit, the lowest id on ties
  float best_logit = 0;
};

// What a model said, to be compared on another machine with what it says there: prompt and continuation, with the
// hash of the logits after every token.
struct Receipt {
  std::string model;    // for people
  std::string weights;  // hash of a sample of the files (WeightIdentity::content); empty: not from files
  NumberMode numbers = NumberMode::kFaithful;
  bool mtp = false;
  int64_t prompt_tokens = 0;     // read in chunks; the others were fed one by one
  std::string program, devices;  // that made it, for people
  std::vector<ReceiptRow> rows;
};

struct ReceiptDifference {
  size_t row;
  ReceiptRow expected, actual;
};

// Reads `prompt`, then continues with `more` tokens, always the most probable. The session must be empty. `done(rows)`
// is called after each row. `model` and `program` are left to the caller.
Receipt make_receipt(Session& session, std::span<const int32_t> prompt, int64_t more,
                     const std::function<void(size_t rows)>& done);

// Feeds the same tokens, as prompt and one by one as they were, and returns the first row that differs.
std::optional<ReceiptDifference> check_receipt(Session& session, const Receipt& receipt,
                                               const std::function<void(size_t rows)>& done);

// The first difference for people: where it is, both results, and whether the weights are those of the receipt.
std::string describe(const ReceiptDifference& difference, const Receipt& receipt, const Model& model);

// JSON lines: one object about the whole, then one for each row, so that `diff` of two files shows where they part.
std::string to_json_lines(const Receipt& receipt);
Receipt parse_receipt(std::string_view text, const std::string& source);  // throws Error naming `source` and the line

}  // namespace v4rt
