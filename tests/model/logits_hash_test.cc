// The same bits on every machine: hashes of the logits of fixed prompts, kept in tests/data/logits.txt. This compares
// processors with and without a matrix unit, drivers and compilers across machines. When an op gets another order of
// sums, the failing test prints the new hashes.

#include <gtest/gtest.h>

#include <fstream>

#include "ops/core/hash.h"
#include "tests/support/models.h"

namespace v4rt {
namespace {

class LogitsHash : public testing::TestWithParam<std::tuple<std::string, std::string, NumberMode>> {};

std::string kept_hash(const std::string& model, const std::string& mode) {
  std::ifstream file(source_path("tests/data/logits.txt"));
  for (std::string of_model, of_mode, hash; file >> of_model >> of_mode >> hash;)
    if (of_model == model && of_mode == mode) return hash;
  return "none";
}

// Past the window, several chunks and a remainder of one token; a linear congruential sequence, which does not depend
// on a library's random numbers.
std::vector<int32_t> prompt(int64_t vocab) {
  std::vector<int32_t> ids;
  uint32_t state = 20240607;
  while (ids.size() < 193) {
    state = state * 1664525 + 1013904223;
    ids.push_back(static_cast<int32_t>((state >> 8) % static_cast<uint32_t>(vocab)));
  }
  return ids;
}

TEST_P(LogitsHash, IsTheKeptOne) {
  const auto& [device, name, numbers] = GetParam();
  const auto model = open_model(name == "v4-mini" ? mini_path() : tiny_flash_path(),
                                {.device = device, .numbers = numbers, .chunk = 48, .context = 300, .mtp = true});
  Session session(model);
  const auto ids = prompt(model->config().vocab_size);
  const Scores scores = score_all(session, ids);
  Hasher hasher;
  hasher.add(std::as_bytes(std::span(scores.logits)));
  hasher.add(std::as_bytes(std::span(scores.mtp)));
  for (const int32_t id : {1, 2, 3}) hasher.add(std::as_bytes(session.feed(std::span(&id, 1))));  // decoding
  EXPECT_EQ(to_string(hasher.value()), kept_hash(name, mode_name(numbers))) << name << " " << mode_name(numbers);
}

INSTANTIATE_TEST_SUITE_P(Devices, LogitsHash,
                         testing::Combine(testing::ValuesIn(built_in_backends()),
                                          testing::Values("v4-mini", "tiny-flash"),
                                          testing::Values(NumberMode::kFaithful, NumberMode::kPlain)),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" +
                                  (std::get<1>(info.param) == "v4-mini" ? "mini" : "tiny_flash") + "_" +
                                  mode_name(std::get<2>(info.param));
                         });

}  // namespace
}  // namespace v4rt
