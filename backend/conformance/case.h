#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/attention/row_format.h"
#include "ops/op.h"

namespace v4rt {

// How one input of a case is filled. Rows of activations and ids past the live rows are poisoned in any case.
struct Fill {
  enum class Kind : uint8_t {
    kNormal,     // standard normal numbers times `scale`; quantised weights: random codes and scales
    kWild,       // magnitudes from 2^-20 to 2^20 and zeros
    kIds,        // integers in [low, high)
    kSortedIds,  // per row distinct ascending integers in [low, high), -1 after `live` of them
    kTable,      // per row distinct integers in [low, high), any order
    kRows,       // cache rows: encoded normal numbers
    kTies,       // few distinct values, so that orders must be decided by index
    kFp4,
    kFp8,  // normal numbers times `scale`, rounded to what the type holds: activations before quantised weights
  };
  Kind kind = Kind::kNormal;
  float scale = 1;
  int32_t low = 0, high = 0, live = 0;
  RowFormat format{};
};

// One op with its types and live size, to be run on a device and compared with the reference bit for bit. Benchmarks
// use the same list.
struct Case {
  std::string name;
  OpPtr op;
  std::vector<TensorType> inputs;
  std::vector<Segment> segments;
  std::vector<Fill> fills;  // one per input; the last repeats
  uint64_t seed = 1;

  const Fill& fill(size_t input) const { return fills[input < fills.size() ? input : fills.size() - 1]; }
};

std::vector<Case> dense_cases();
std::vector<Case> attention_cases();
std::vector<Case> hyper_cases();
std::vector<Case> moe_cases();
std::vector<Case> chain_cases();  // of several ops: chain.h
std::vector<Case> tail_cases();   // of several ops of one token, for devices whose launches go on
std::vector<Case> all_cases();

}  // namespace v4rt
