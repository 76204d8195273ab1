#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "graph/evidence/trace.h"
#include "graph/runtime/session.h"

namespace v4rt::cli {

// What to measure: reading prompts of these lengths, and decoding.
struct BenchPlan {
  std::vector<int64_t> prompts{512};  // empty: no prompts are read
  int64_t decode_tokens = 64;         // 0: nothing is decoded
  int64_t depth = 0;                  // where decoding begins
  int together = 1;                   // also decodes so many sequences together, where they are several
  double accept = 0.9;     // with a model opened for drafts, also: so many of the guesses are taken for right
  bool synthetic = false;  // the state there is made up; otherwise `depth` tokens are read first
  int repetitions = 5;
  bool ops = false;        // also the time of each op
  Trace* trace = nullptr;  // given: also one run of each, traced
};

// Bytes and FLOP that ops say they touch (Op::cost).
struct Touched {
  double weight_bytes = 0, state_bytes = 0, io_bytes = 0, flops = 0;

  double memory_bytes() const { return weight_bytes + state_bytes; }  // activations stay in caches
  double all_bytes() const { return memory_bytes() + io_bytes; }
  Touched& operator+=(const Touched& other);
};

// All launches of one kind of op in one run.
struct OpTime {
  std::string op;  // "linear fp8": kind, and type of the matrix if it has one
  int64_t launches = 0;
  double seconds = 0;  // the median of the repetitions
  Touched touched;
  std::vector<double> layers = {};  // seconds of it in each layer; what is before and after them is in none
};

struct Measurement {
  std::string kind;  // "prefill" or "decode"
  int64_t tokens = 0;
  int64_t depth = 0;  // position of the first token
  int draft = 0;      // tokens guessed before each step, of which `accept` are taken for right
  double accept = 0;
  int sequences = 1;  // that take turns in `tokens`, one token of each in a step
  bool synthetic = false;
  bool fast = false;                 // with --fast
  std::vector<double> seconds;       // of each repetition
  std::vector<DeviceSpeed> machine;  // before each repetition, and after the last; empty: not measured
  Touched touched;                   // by one repetition
  std::vector<OpTime> ops;           // slowest first; empty unless asked for

  std::vector<double> tokens_per_s() const;
  double median_seconds() const;
  // The median of the repetitions' shares of what the machine did around each of them; 0: not measured.
  double share_of(double DeviceSpeed::*limit, double giga_per_run) const;
};

double median(std::vector<double> values);
DeviceSpeed median(const std::vector<DeviceSpeed>& speeds);  // of each figure; at least one

// Runs everything once to warm up and once for each repetition, and with `ops` once more for each, waiting for every
// launch. `between(done)` is called before each run, done in [0, 1]. The best that `machine` can do is measured between
// the repetitions; nullptr: nothing is.
std::vector<Measurement> measure(const std::shared_ptr<const Model>& model, const BenchPlan& plan, Device* machine,
                                 const std::function<void(double done)>& between);

}  // namespace v4rt::cli
