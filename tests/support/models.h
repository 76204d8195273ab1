#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "backend/registry.h"
#include "graph/runtime/session.h"
#include "loaders/checkpoint/checkpoint.h"

namespace v4rt {

inline std::string source_path(const std::string& relative) { return std::string(V4RT_SOURCE_DIR) + "/" + relative; }
inline std::string mini_path() { return source_path("examples/models/v4-mini"); }
inline std::string tiny_flash_path() { return source_path("tests/data/tiny-flash"); }

struct Setup {
  std::string device = "cpu";
  NumberMode numbers = NumberMode::kFaithful;
  int chunk = 64;
  int64_t context = 1200;
  bool mtp = false;
  int slots = 1;
  Fast fast = Fast::kNever;
};

inline std::shared_ptr<const Model> open_model(std::shared_ptr<const WeightSource> weights, const Setup& setup) {
  ModelOptions options;
  options.device = setup.device;
  options.numbers = setup.numbers;
  options.chunk = setup.chunk;
  options.context = setup.context;
  options.mtp = setup.mtp;
  options.slots = setup.slots;
  options.device_options.fast = setup.fast;
  return Model::open(std::move(weights), options);
}

inline std::shared_ptr<const Model> open_model(const std::string& path, const Setup& setup) {
  return open_model(open_checkpoint(path).weights, setup);
}

// Logits of every position, [T, V], and of the MTP block, [T - 1, V].
struct Scores {
  std::vector<float> logits, mtp;
};

inline Scores score_all(Session& session, std::span<const int32_t> ids) {
  Scores scores;
  session.score(ids, [&](int64_t, std::span<const float> logits, std::span<const float> mtp) {
    scores.logits.insert(scores.logits.end(), logits.begin(), logits.end());
    scores.mtp.insert(scores.mtp.end(), mtp.begin(), mtp.end());
  });
  return scores;
}

inline size_t argmax(std::span<const float> row) {
  return static_cast<size_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

inline std::string mode_name(NumberMode mode) { return mode == NumberMode::kPlain ? "plain" : "faithful"; }

}  // namespace v4rt
