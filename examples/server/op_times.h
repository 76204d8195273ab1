#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "graph/plan/plan.h"

namespace v4rt::server {

// What each device spent on each op, for Prometheus. Names are those of the model's devices, which has to live as long.
class OpTimes {
 public:
  void add(const Plan& plan, std::span<const double> seconds);  // of plan.steps
  std::string text() const;

 private:
  struct Time {
    uint64_t launches = 0;
    double seconds = 0;
  };
  mutable std::mutex mutex_;
  std::map<std::pair<std::string_view, std::string_view>, Time> ops_;  // by device and op
};

}  // namespace v4rt::server
