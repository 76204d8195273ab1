#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "graph/runtime/engine.h"

namespace v4rt::server {

// What has happened since the start, in the text form of Prometheus.
class Metrics {
 public:
  void answered(int status);  // an HTTP request
  void began(double seconds) { first_token_.add(seconds); }
  void token(double seconds) { gap_.add(seconds); }  // after the one before
  void ended(const GenerateResult& result, double seconds);

  std::string text(const Engine& engine) const;

 private:
  class Histogram {
   public:
    void add(double seconds);
    std::string text(const std::string& name, const std::string& help) const;

   private:
    static constexpr std::array kBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,  0.25,
                                           0.5,   1.0,    2.5,   5.0,  10.0,  30.0, 60.0, 300.0};
    std::array<std::atomic<uint64_t>, kBounds.size() + 1> counts_{};
    std::atomic<double> sum_ = 0;
  };

  std::atomic<int64_t> prompt_tokens_ = 0, cached_tokens_ = 0, tokens_ = 0, drafted_ = 0, accepted_ = 0;
  Histogram first_token_, gap_, duration_;
  mutable std::mutex mutex_;
  std::map<int, uint64_t> answers_;
};

}  // namespace v4rt::server
