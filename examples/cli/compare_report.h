#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "examples/cli/bench_report.h"
#include "graph/evidence/compare.h"
#include "graph/runtime/model.h"

namespace v4rt::cli {

// Where a value of a plan lies in a device's working memory, from the first step that touches it to the last.
struct PlacedValue {
  std::string name, device;
  size_t offset, bytes;
  int first, last;
};

// Bytes of an open model, and the working memory of its plan for a prompt over the steps.
struct MemoryMap {
  size_t weights = 0, state = 0, arena = 0;  // of one session
  size_t steps = 0;
  std::vector<PlacedValue> values;
};
MemoryMap memory_map(const Model& model, int tokens);

// What one device did, beside the first of the report.
struct Compared {
  std::string name;  // as it was asked for: "opencl+plain"
  BenchReport bench;
  MemoryMap memory;
  std::optional<OpComparison> ops;  // empty: not compared; of the first device
  std::string ops_note;             // why
  std::optional<TextComparison> text;
  std::vector<std::pair<std::string, LogitError>> golden;  // by text, beside CompareReport::against
};

struct CompareReport {
  std::string model, commit, text;  // where the ids are from
  int64_t ids = 0;                  // of the text
  int64_t prompt = 0, decoded = 0;  // for which ops were compared
  std::string against;              // a file of golden logits; empty: none
  std::vector<Compared> devices;    // the others are compared with the first
};

std::string to_text(const CompareReport& report);
nlohmann::ordered_json to_json(const CompareReport& report);
std::string to_page(const CompareReport& report);  // HTML that needs nothing else

}  // namespace v4rt::cli
