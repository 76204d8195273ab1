#include "graph/evidence/trace.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

namespace v4rt {
namespace {

std::string describe(const Step& step) {
  const Segment& first = step.segments.front();
  if (step.n_segments() > 1) return fmt::format("{} tokens of {} sequences", step.n_rows(), step.n_segments());
  return first.n_tokens == 1 ? fmt::format("token at {}", first.position)
                             : fmt::format("{} tokens at {}", first.n_tokens, first.position);
}

}  // namespace

void Trace::watch(Session& session) {
  session.on_step_times(
      [this](const Plan& plan, const Step& step, std::span<const double> seconds) { take(plan, step, seconds); });
}

// Called right after the plan's last step, so the first began as long ago as all took together.
void Trace::take(const Plan& plan, const Step& step, std::span<const double> seconds) {
  const double all = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  double at = since_begin(Clock::now()) - all;
  events_.push_back({describe(step), {}, track("tokens"), at, all});
  const auto device = [&](int index) { return track(plan.devices[static_cast<size_t>(index)]->info().name); };
  for (size_t i = 0; i < seconds.size(); ++i) {
    if (const auto* launch = std::get_if<Launch>(&plan.steps[i])) {
      const Join* join = join_of(plan, i);
      if (join == nullptr) {
        events_.push_back({launch->node, launch->kernel->name, device(launch->device), at, seconds[i]});
      } else if (join->first == i) {
        events_.push_back({nodes_of(plan, *join), join->kernel->name, device(launch->device), at, seconds[i]});
      }
    } else {
      const auto& transfer = std::get<Transfer>(plan.steps[i]);
      const Slot &from = plan.slots[static_cast<size_t>(transfer.from)],
                 &to = plan.slots[static_cast<size_t>(transfer.to)];
      for (const int index : {from.device, to.device})
        events_.push_back(
            {from.name, fmt::format("transfer of {} bytes", from.type.bytes()), device(index), at, seconds[i]});
    }
    at += seconds[i];
  }
}

void Trace::add(std::string name, std::string_view track_name, Clock::time_point begin, Clock::time_point end) {
  events_.push_back(
      {std::move(name), {}, track(track_name), since_begin(begin), std::chrono::duration<double>(end - begin).count()});
}

size_t Trace::track(std::string_view name) {
  const auto found = std::ranges::find(tracks_, name);
  const auto index = static_cast<size_t>(found - tracks_.begin());
  if (found == tracks_.end()) tracks_.emplace_back(name);
  return index;
}

std::string Trace::json() const {
  constexpr double kMicro = 1e6;
  using Json = nlohmann::ordered_json;
  Json events = Json::array();
  for (size_t i = 0; i < tracks_.size(); ++i)
    events.push_back({{"name", "thread_name"}, {"ph", "M"}, {"pid", 1}, {"tid", i}, {"args", {{"name", tracks_[i]}}}});
  for (const Event& e : events_) {
    events.push_back({{"name", e.name},
                      {"ph", "X"},
                      {"pid", 1},
                      {"tid", e.track},
                      {"ts", kMicro * e.begin},
                      {"dur", kMicro * e.seconds}});
    if (!e.detail.empty()) events.back()["args"] = {{"detail", e.detail}};
  }
  const Json trace = {{"displayTimeUnit", "ms"}, {"traceEvents", std::move(events)}};
  return trace.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace v4rt
