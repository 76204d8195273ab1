#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "graph/runtime/session.h"

namespace v4rt {

// What happened when, as Chrome's trace events: https://ui.perfetto.dev shows them, a track for each device. While a
// session is watched it waits for every launch and transfer before the next, so that each has its own time; nothing
// overlaps then, and the results are the same.
class Trace {
 public:
  using Clock = std::chrono::steady_clock;

  Trace() : begin_(Clock::now()) {}

  void watch(Session& session);  // until Session::on_step_times is given another function; must outlive that
  void add(std::string name, std::string_view track, Clock::time_point begin, Clock::time_point end);
  std::string json() const;

 private:
  struct Event {
    std::string name, detail;
    size_t track;
    double begin, seconds;
  };

  void take(const Plan& plan, const Step& step, std::span<const double> seconds);
  size_t track(std::string_view name);
  double since_begin(Clock::time_point time) const { return std::chrono::duration<double>(time - begin_).count(); }

  Clock::time_point begin_;
  std::vector<std::string> tracks_;
  std::vector<Event> events_;
};

}  // namespace v4rt
