#include "backend/opencl/lanes_trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "backend/kernel_trial.h"
#include "backend/opencl/child.h"
#include "backend/opencl/opencl_device.h"
#include "ops/linear/linear.h"

namespace v4rt {
namespace {

constexpr int kRounds = 3;
constexpr double kLeastTime = 5e-3;  // seconds of a measurement
// What takes so many times as long with many tokens is not taken, and products of one token, whose programs take long
// to compile, are not measured.
constexpr double kClearly = 2.5;
constexpr std::string_view kTryOne = "one";                             // what else a child is asked for
constexpr char kStep = 's', kReady = 'r', kTime = 't', kProblem = 'p';  // how its texts begin

// One form, as this process sees it.
class Candidate {
 public:
  Candidate(const std::vector<std::string>& command, Lanes lanes)
      : child_(std::make_unique<Child>(command)), lanes_(lanes) {}

  bool start() { return child_->greets() && child_->say({kTry, to_string(lanes_)}); }
  // Hears what the child says within the time, if it says something. Whether it waits for us now, or is at its end.
  bool listen(std::chrono::milliseconds time) {
    if (ended() || !child_->speaks_within(time)) return ended();
    const auto text = child_->hear();
    double seconds = 0;
    if (!text) {
      trial_ = {.problem = fmt::format("a crash ({}, {})", child_->end(), step_), .crashed = true};
    } else if (text->starts_with(kStep)) {
      step_ = text->substr(1);
      return false;
    } else if (text->starts_with(kProblem)) {
      trial_ = {.problem = "an error: " + text->substr(1)};
    } else if (std::sscanf(text->c_str(), "t%lg", &seconds) == 1) {
      double& least = one_ ? trial_.one : trial_.many;
      least = least == 0 ? seconds : std::min(least, seconds);
    }
    std::ranges::replace(trial_.problem, '\n', ' ');
    return true;
  }
  void go_on_to_one() {
    one_ = true;
    child_->say({kTryOne});
  }
  void measure(std::chrono::milliseconds patience) {
    if (ended()) return;
    child_->say({kTry});
    if (!listen(patience)) give_up(patience);
  }
  void give_up(std::chrono::duration<double> waited) {
    trial_ = {.problem = fmt::format("no end within {:.1f} s ({})", waited.count(), step_)};
  }
  bool ended() const { return !trial_.problem.empty(); }
  const LanesTrial& trial() const { return trial_; }
  std::unique_ptr<Child> release() { return std::move(child_); }

 private:
  std::unique_ptr<Child> child_;
  Lanes lanes_;
  bool one_ = false;  // of one token is what is measured
  std::string step_ = "opening the device";
  LanesTrial trial_;
};

// Until all are ready, or have failed, or are late.
void wait_for(std::vector<Candidate*> candidates, std::chrono::milliseconds patience) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  Clock::duration limit = patience;
  while (!candidates.empty()) {
    std::erase_if(candidates, [&](Candidate* one) {
      if (!one->listen(std::chrono::milliseconds(20))) return false;
      if (!one->ended()) limit = std::max<Clock::duration>(patience / 3, 4 * (Clock::now() - begin));
      return true;
    });
    const auto waited = Clock::now() - begin;
    if (waited < limit) continue;
    for (Candidate* late : candidates) late->give_up(waited);
    return;
  }
}

// Measures products of as many tokens as they are ready for. Whether that leaves the choice open.
bool measure(const std::vector<Candidate*>& both, std::chrono::milliseconds patience) {
  wait_for(both, patience);
  for (int round = 0; round < kRounds; ++round)
    for (Candidate* one : both) one->measure(patience);
  const auto [faster, slower] = std::minmax(both[0]->trial().many, both[1]->trial().many);
  return std::ranges::none_of(both, &Candidate::ended) && slower < kClearly * faster;
}

// A product, with memory of its own.
class Product {
 public:
  Product(OpenclDevice& device, int64_t tokens, DType weight)
      : inputs_{{DType::kBF16, Shape{tokens, kK}}, {weight, Shape{kN, kK}}} {
    inputs_[1].layout = device.weight_layout(inputs_[1]);
    outputs_ = op_.infer(inputs_);
    const OpCall call{op_, inputs_, outputs_};
    kernel_ = device.compile(call);
    trial_ = std::make_unique<KernelTrial>(device, call);
    trial_->seconds(*kernel_);  // compiles in some drivers
    first_ = trial_->seconds(*kernel_);
  }

  double seconds() {  // of the fastest of some
    double best = first_, spent = 0;
    while (spent < kLeastTime) {
      const double one = trial_->seconds(*kernel_);
      best = std::min(best, one);
      spent += one;
    }
    return best;
  }

 private:
  static constexpr int64_t kN = 1024, kK = 2048;
  const Linear op_{DType::kBF16};
  std::vector<TensorType> inputs_, outputs_;
  std::unique_ptr<Kernel> kernel_;
  std::unique_ptr<KernelTrial> trial_;
  double first_ = 0;
};

}  // namespace

std::optional<LanesTrials> try_lanes(const std::vector<std::string>& command, Lanes usual,
                                     std::vector<std::unique_ptr<Child>>& waiting, std::chrono::milliseconds patience) {
  Candidate vector(command, Lanes::kVector), work_items(command, Lanes::kWorkItems);
  const std::vector<Candidate*> both{&vector, &work_items};
  if (!std::ranges::all_of(both, &Candidate::start)) return {};
  if (measure(both, patience)) {
    std::ranges::for_each(both, &Candidate::go_on_to_one);
    measure(both, patience);
  }
  for (Candidate* one : both)
    if (!one->ended()) waiting.push_back(one->release());
  return LanesTrials{usual, vector.trial(), work_items.trial()};
}

std::optional<std::string> serve_trial(const OpenclName& name, Lanes lanes, int socket) {
  const auto step = [&](std::string_view what) { send_text(socket, kStep + std::string(what)); };
  try {
    step("probe_arithmetic of arithmetic.cl");
    const auto device = std::dynamic_pointer_cast<OpenclDevice>(create_opencl_device(name, "", lanes));
    check(device != nullptr, Code::kUnsupported, "the device compiles nothing");
    std::optional<Product> product;
    const auto prepare = [&](int tokens, DType weight) {
      step(fmt::format("linear, tokens: {}", tokens));
      product.emplace(*device, tokens, weight);
      send_text(socket, std::string(1, kReady));
    };
    prepare(LanesTrial::kManyTokens, DType::kBF16);  // which few devices have to ask how to decode
    std::optional<std::string> asked;
    while ((asked = receive_text(socket)) == kTry || asked == kTryOne) {
      if (asked == kTryOne)
        prepare(1, DType::kFp8);
      else
        send_text(socket, fmt::format("{}{}", kTime, product->seconds()));
    }
    return asked;
  } catch (const Error& error) {
    send_text(socket, kProblem + std::string(error.what()));
    return std::nullopt;
  }
}

}  // namespace v4rt
