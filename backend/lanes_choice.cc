#include "backend/lanes_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "backend/binary_store.h"

namespace v4rt {
namespace {

// Other processes use the machine too: what is not that much faster may be as fast.
constexpr double kMargin = 1.25;

BinaryStore store(const std::string& folder) { return BinaryStore(folder, BinaryStore::kTimes); }

// The version is raised when kernels or samples change much.
std::string key_of(const DeviceInfo& device) {
  std::string key = fmt::format("form of kernels\n{}\n\nv4rt forms 1\n", device.description);
  for (const std::string& feature : device.features)
    if (feature.starts_with(kMaxGroup)) key += feature + "\n";
  return key;
}

std::string line_of(const LanesTrial& trial) {
  return fmt::format("{} {} {} {}\n", trial.one, trial.many, trial.crashed ? 1 : 0, trial.problem);
}

bool read_line(std::istream& text, LanesTrial& trial) {
  std::string line;
  std::getline(text, line);
  std::istringstream words(line);
  words >> trial.one >> trial.many >> trial.crashed;
  words.ignore(1);
  if (!words) return false;
  std::getline(words, trial.problem);
  return std::isfinite(trial.one) && std::isfinite(trial.many) && trial.one >= 0 && trial.many >= 0;
}

}  // namespace

std::string to_string(Lanes lanes) { return lanes == Lanes::kVector ? "vector lanes" : "work-items"; }

LanesChoice choose_lanes(const LanesTrials& trials) {
  const Lanes usual = trials.usual, unusual = usual == Lanes::kVector ? Lanes::kWorkItems : Lanes::kVector;
  const LanesTrial &u = trials.of(usual), &o = trials.of(unusual);
  const auto measured = [](const LanesTrial& trial) { return trial.one > 0 || trial.many > 0; };
  if (!measured(u) && !measured(o))
    return {usual, fmt::format("by the device's type and vectors, since nothing could be measured: {}", u.problem)};
  if (!measured(o)) return {usual, fmt::format("on {} there was {}", to_string(unusual), o.problem)};
  if (!measured(u)) return {unusual, fmt::format("on {} there was {}", to_string(usual), u.problem)};
  const auto ratio = [](double a, double b) { return a > 0 && b > 0 ? a / b : 0; };
  const double one = ratio(u.one, o.one), many = ratio(u.many, o.many);  // 0: not measured
  const bool change = (one > 0 && many > 0 ? std::sqrt(one * many) : std::max(one, many)) > kMargin;
  std::string times;
  const auto add = [&](double r, std::string_view tokens) {
    if (r == 0) return;
    const double longer = change ? r : 1 / r;
    times += times.empty() ? fmt::format("a product of {} takes {:.2f} times as long", tokens, longer)
                           : fmt::format(", one of {} {:.2f} times", tokens, longer);
  };
  add(one, "one token");
  add(many, fmt::format("{} tokens", LanesTrial::kManyTokens));
  return {change ? unusual : usual, fmt::format("measured: on {} {}", to_string(change ? usual : unusual), times)};
}

void keep_trials(const std::string& folder, const DeviceInfo& device, const LanesTrials& trials) {
  const std::string text = to_string(trials.usual) + "\n" + line_of(trials.vector) + line_of(trials.work_items);
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  store(folder).store(key_of(device), {bytes, bytes + text.size()});
}

std::optional<LanesTrials> kept_trials(const std::string& folder, const DeviceInfo& device) {
  const auto bytes = store(folder).load(key_of(device));
  if (!bytes) return std::nullopt;
  std::istringstream text(std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size()));
  std::string usual;
  std::getline(text, usual);
  LanesTrials trials{.usual = usual == to_string(Lanes::kVector) ? Lanes::kVector : Lanes::kWorkItems};
  if (!read_line(text, trials.vector) || !read_line(text, trials.work_items)) return std::nullopt;
  return trials;
}

}  // namespace v4rt
