#include "graph/evidence/receipt.h"

#include <algorithm>

#include "graph/runtime/model_impl.h"

namespace v4rt {
namespace {

ReceiptRow row_of(int32_t token, std::span<const float> logits, std::span<const float> mtp) {
  const auto best = std::max_element(logits.begin(), logits.end());
  ReceiptRow row{.token = token,
                 .logits = hash_of(std::as_bytes(logits)),
                 .mtp = {},
                 .best = static_cast<int32_t>(best - logits.begin()),
                 .best_logit = *best};
  if (!mtp.empty()) row.mtp = hash_of(std::as_bytes(mtp));
  return row;
}

// Reads `prompt`, then feeds what next() returns after each row, until that is nothing.
void follow(Session& session, std::span<const int32_t> prompt, const std::function<void(ReceiptRow)>& take,
            const std::function<std::optional<int32_t>()>& next) {
  check(session.position() == 0, Code::kInvalidArgument, "a receipt begins with an empty session");
  session.score(prompt, [&](int64_t i, std::span<const float> logits, std::span<const float> mtp) {
    take(row_of(prompt[static_cast<size_t>(i)], logits, mtp));
  });
  while (const std::optional<int32_t> token = next()) take(row_of(*token, session.feed({&*token, 1}), {}));
}

std::string weights_of(const Model& model) {
  const auto& identity = model.impl().identity;
  return identity ? to_string(identity->content) : "";
}

std::string describe_devices(const Model& model) {
  std::string text;
  for (const auto& device : model.impl().devices)
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", device->info().name, device->info().description);
  return text;
}

}  // namespace

Receipt make_receipt(Session& session, std::span<const int32_t> prompt, int64_t more,
                     const std::function<void(size_t rows)>& done) {
  const Model& model = session.model();
  Receipt receipt{.model = {},
                  .weights = weights_of(model),
                  .numbers = model.options().numbers,
                  .mtp = model.options().mtp,
                  .prompt_tokens = static_cast<int64_t>(prompt.size()),
                  .program = {},
                  .devices = describe_devices(model),
                  .rows = {}};
  const auto take = [&](ReceiptRow row) {
    receipt.rows.push_back(std::move(row));
    done(receipt.rows.size());
  };
  follow(session, prompt, take, [&]() -> std::optional<int32_t> {
    if (more-- <= 0) return std::nullopt;
    return receipt.rows.back().best;
  });
  return receipt;
}

std::optional<ReceiptDifference> check_receipt(Session& session, const Receipt& receipt,
                                               const std::function<void(size_t rows)>& done) {
  const ModelOptions& options = session.model().options();
  check(options.numbers == receipt.numbers && options.mtp == receipt.mtp, Code::kInvalidArgument,
        "the receipt is of another number mode, or of the MTP block: open the model as the receipt says");
  std::vector<int32_t> prompt;
  for (size_t i = 0; i < static_cast<size_t>(receipt.prompt_tokens); ++i) prompt.push_back(receipt.rows[i].token);
  std::optional<ReceiptDifference> first;
  size_t at = 0;
  const auto take = [&](ReceiptRow row) {
    const ReceiptRow& expected = receipt.rows[at];
    if (!first && (row.logits != expected.logits || row.mtp != expected.mtp))
      first = ReceiptDifference{at, expected, std::move(row)};
    done(++at);
  };
  follow(session, prompt, take, [&]() -> std::optional<int32_t> {
    if (first || at == receipt.rows.size()) return std::nullopt;
    return receipt.rows[at].token;
  });
  return first;
}

std::string describe(const ReceiptDifference& d, const Receipt& receipt, const Model& model) {
  const bool in_prompt = d.row < static_cast<size_t>(receipt.prompt_tokens);
  std::string text = fmt::format("{} {} of {}, after token {}: ", in_prompt ? "position" : "decoded position", d.row,
                                 receipt.rows.size(), d.expected.token);
  if (d.expected.logits == d.actual.logits) {
    text += "the MTP block's logits differ";
  } else {
    text += fmt::format("the largest logit is {} of token {}, and was {} of token {}", d.actual.best_logit,
                        d.actual.best, d.expected.best_logit, d.expected.best);
    if (d.actual.best == d.expected.best && d.actual.best_logit == d.expected.best_logit) text += "; others differ";
  }
  const std::string weights = weights_of(model);
  return text + (weights.empty() || receipt.weights.empty() ? "; whether the weights are the same is not known"
                 : weights == receipt.weights
                     ? "; the weights are the same, so what computes them differs"
                     : "; the files of weights are others than those the receipt is of, or other copies of them");
}

}  // namespace v4rt
