#include "backend/kernel_choice.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <sstream>

#include "backend/kernel_trial.h"
#include "ops/core/log.h"

namespace v4rt {
namespace {

constexpr std::string_view kFormat = "v4rt kernel times 1";  // raised when kernels or samples change
constexpr double kNever = std::numeric_limits<double>::infinity();

// A library must be that much faster: less may be noise, and exact bits are worth something.
constexpr double kMargin = 1.05;
constexpr double kHopeless = 3;  // times as long as the best: not tried again
constexpr int kRounds = 3;
constexpr double kLeastTime = 5e-3;  // of a round: what is short is run often, for others use the machine too

std::string time_text(double seconds) {
  return seconds < 1 ? fmt::format("{:.3g} ms", 1e3 * seconds) : fmt::format("{:.3g} s", seconds);
}

}  // namespace

// Seconds of each candidate; kNever: it failed.
struct KernelChoice::Times {
  std::vector<double> seconds;
};

KernelChoice::KernelChoice(Device& device, FastOptions options)
    : device_(device), options_(std::move(options)), disk_(options_.cache_dir, BinaryStore::kTimes) {}

Support KernelChoice::of(const OpCall& call, std::span<const Candidate> candidates) {
  const Candidate& first = candidates.front();
  const SampleCall sample = sample_of(call);
  if (use() == Fast::kAlways || candidates.size() == 1)
    return {.reason = fmt::format("{} for {}: as asked", first.library, sample.text), .kernel = first.kernel};
  const std::string shape = call.op.describe() + sample.text;
  const std::lock_guard lock(mutex_);
  if (const auto known = chosen_.find(shape); known != chosen_.end()) return known->second;
  const Times times = times_of({call.op, sample.inputs, sample.outputs}, candidates);
  const size_t exact = candidates.size() - 1;
  const auto compared = [&](size_t i) { return times.seconds[i] * (i == exact ? 1 : kMargin); };
  size_t best = exact;
  for (size_t i = 0; i < exact; ++i)
    if (compared(i) < compared(best)) best = i;
  std::vector<std::string> others;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (i == best) continue;
    const std::string who = i == exact ? std::string(candidates[i].name) : candidates[i].library;
    others.push_back(times.seconds[i] == kNever
                         ? who + " failed"
                         : fmt::format("{} takes {:.2f} times as long", who, times.seconds[i] / times.seconds[best]));
  }
  return chosen_[shape] = {
             .reason = fmt::format("{} for {}: {}; {}", best == exact ? "exact" : candidates[best].library, sample.text,
                                   time_text(times.seconds[best]), fmt::join(others, ", ")),
             .kernel = candidates[best].kernel};
}

// Read from disk if the times there are for this driver and these libraries; otherwise measured and stored.
KernelChoice::Times KernelChoice::times_of(const OpCall& sample, std::span<const Candidate> candidates) {
  std::string key = fmt::format("{}\n{}\n\n{}\n", sample.op.describe(), device_.info().name, kFormat);
  for (const TensorType& type : sample.inputs) key += to_string(type) + "\n";
  std::string identity = device_.info().description;
  for (const Candidate& c : candidates) identity += fmt::format("; {} {}", c.name, c.library);
  const auto notice = [&](std::string_view why) {
    log::warn("{}: kept times of {} are not used: {}; measured again", device_.info().name, sample.op.describe(), why);
  };
  if (!options_.again) {
    std::string problem;
    if (const auto bytes = disk_.load(key, &problem)) {
      std::istringstream text(std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size()));
      std::string known;
      std::getline(text, known);
      Times times;
      for (std::string line; std::getline(text, line);) {
        double seconds = 0;
        const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), seconds);
        if (error == std::errc{} && end == line.data() + line.size()) times.seconds.push_back(seconds);
      }
      if (known == identity && times.seconds.size() == candidates.size()) return times;
      problem = fmt::format("they were taken with {}", known);
    }
    if (!problem.empty()) notice(problem);
  }
  Times times = measured(sample, candidates);
  std::string text = identity + "\n";
  for (const double seconds : times.seconds) text += fmt::format("{}\n", seconds);
  const auto bytes = std::as_bytes(std::span<const char>(text));
  disk_.store(key, {bytes.begin(), bytes.end()});
  return times;
}

// Candidates take turns, so that a machine that slows down slows all of them. The first run compiles and warms up; the
// shortest of the others counts.
KernelChoice::Times KernelChoice::measured(const OpCall& sample, std::span<const Candidate> candidates) {
  KernelTrial trial(device_, sample);
  Times times{std::vector<double>(candidates.size(), kNever)};
  std::vector<std::unique_ptr<Kernel>> kernels(candidates.size());
  const auto best = [&] { return *std::min_element(times.seconds.begin(), times.seconds.end()); };
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = candidates.size(); i-- > 0;) {  // the exact one first: others are compared with it
      const bool first = round == 0;
      if (!first && (kernels[i] == nullptr || times.seconds[i] > kHopeless * best())) continue;
      try {
        if (first) {
          if (options_.measuring) options_.measuring(fmt::format("{}: {}", candidates[i].name, sample_of(sample).text));
          kernels[i] = device_.make(sample, candidates[i].kernel);
          trial.seconds(*kernels[i]);
        }
        double spent = 0;
        do {
          const double seconds = trial.seconds(*kernels[i]);
          times.seconds[i] = std::min(times.seconds[i], seconds);
          spent += seconds;
        } while (spent < kLeastTime);
      } catch (const Error& error) {
        if (candidates[i].library.empty()) throw;
        log::warn("{}: {} is not used: {}", device_.info().name, candidates[i].name, error.what());
        kernels[i] = nullptr;
        times.seconds[i] = kNever;
      }
    }
  }
  return times;
}

}  // namespace v4rt
