#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "examples/cli/bench_measure.h"
#include "examples/cli/huge_pages.h"

namespace v4rt::cli {

struct BenchReport {
  std::string model, device, description, mode, commit;
  std::string fast;  // auto, always: what is measured beside the exact way; empty: nothing
  int threads = 0;   // 0: up to the device
  int chunk = 0, repetitions = 0;
  std::optional<DeviceSpeed> machine;     // medians
  std::string machine_note;               // why there is none
  std::optional<HugePageUse> huge_pages;  // while the model was open
  std::vector<Measurement> measurements;

  const Measurement* first(std::string_view kind) const;       // nullptr if nothing of that kind was measured
  const Measurement* exact_of(const Measurement& fast) const;  // the same run without --fast; nullptr: there is none
};

std::string to_text(const BenchReport& report);
std::string to_markdown(const BenchReport& report);  // tables to paste
nlohmann::ordered_json to_json(const BenchReport& report);

}  // namespace v4rt::cli
