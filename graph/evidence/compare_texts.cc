#include <algorithm>
#include <cmath>
#include <cstring>

#include "graph/evidence/compare.h"

namespace v4rt {
namespace {

constexpr size_t kPart = 64;  // positions whose logits are held at once

int32_t best(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// log of the sum of exp(logits).
double log_sum(std::span<const float> logits) {
  const double greatest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - greatest);
  return greatest + std::log(sum);
}

// KL(softmax(p) || softmax(q)), at least 0.
double divergence(std::span<const float> p, std::span<const float> q) {
  const double p_sum = log_sum(p), q_sum = log_sum(q);
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double log_p = p[i] - p_sum;
    sum += std::exp(log_p) * (log_p - (q[i] - q_sum));
  }
  return std::max(sum, 0.0);
}

void compare_position(LogitError& result, int64_t position, std::span<const float> expected,
                      std::span<const float> actual) {
  ++result.positions;
  result.same_best += best(expected) == best(actual) ? 1 : 0;
  if (std::memcmp(expected.data(), actual.data(), expected.size_bytes()) == 0) {
    ++result.equal;
    return;
  }
  if (result.first < 0) result.first = position;
  for (size_t i = 0; i < expected.size(); ++i)
    result.largest = std::max(result.largest, std::abs(static_cast<double>(actual[i]) - expected[i]));
  const double here = divergence(expected, actual);
  result.divergence += here;
  result.largest_divergence = std::max(result.largest_divergence, here);
}

LogitError read_text(Session& expected, Session& actual, std::span<const int32_t> ids,
                     const std::function<void(int64_t)>& done) {
  LogitError result;
  std::vector<float> wanted;
  for (size_t at = 0; at < ids.size(); at += kPart) {
    const auto part = ids.subspan(at, std::min(kPart, ids.size() - at));
    wanted.clear();
    expected.score(part, [&](int64_t, std::span<const float> logits, std::span<const float>) {
      wanted.insert(wanted.end(), logits.begin(), logits.end());
    });
    actual.score(part, [&](int64_t i, std::span<const float> logits, std::span<const float>) {
      compare_position(result, result.positions,
                       std::span(wanted).subspan(static_cast<size_t>(i) * logits.size(), logits.size()), logits);
    });
    done(result.positions);
  }
  return result;
}

}  // namespace

TextComparison compare_texts(Session& expected, Session& actual, std::span<const int32_t> ids, int64_t more,
                             const std::function<void(double done)>& done) {
  check(expected.model().config().vocab_size == actual.model().config().vocab_size, Code::kInvalidArgument,
        "models of {} and {} tokens cannot be compared", expected.model().config().vocab_size,
        actual.model().config().vocab_size);
  TextComparison result;
  const auto report = [&, total = static_cast<double>(ids.size()) + static_cast<double>(more)](int64_t n) {
    done(static_cast<double>(n) / total);
  };
  result.logits = read_text(expected, actual, ids.first(ids.size() - 1), report);
  int32_t next = ids.back();  // the last token begins the continuation
  while (result.said < more) {
    const int32_t wanted = best(expected.feed({&next, 1}));
    ++result.said;
    if (wanted != best(actual.feed({&next, 1}))) return result;
    ++result.said_alike;
    next = wanted;
    report(result.logits.positions + result.said);
  }
  return result;
}

LogitError compare_golden(const GoldenText& expected, Session& actual, const std::function<void(double done)>& done) {
  LogitError result;
  std::vector<float> wanted(static_cast<size_t>(actual.model().config().vocab_size));
  const auto total = static_cast<double>(expected.ids.size());
  actual.score(expected.ids, [&](int64_t position, std::span<const float> logits, std::span<const float>) {
    const auto row = static_cast<size_t>(result.positions);
    if (row == expected.positions.size() || expected.positions[row] != position) return;
    expected.read(row, wanted);
    compare_position(result, position, wanted, logits);
    done(static_cast<double>(position + 1) / total);
  });
  return result;
}

}  // namespace v4rt
