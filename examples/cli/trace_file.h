#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "examples/cli/output_file.h"
#include "graph/evidence/trace.h"

namespace v4rt::cli {

CLI::Option* add_trace(CLI::App& command, std::string& path);  // --trace

// The file of --trace; without a path it does nothing. Must outlive the sessions that it watches.
class TraceFile {
 public:
  TraceFile(const std::string& path, const std::vector<std::string>& inputs);
  Trace* trace() { return file_ ? &trace_ : nullptr; }
  void watch(Session& session);
  void write();

 private:
  std::optional<OutputFile> file_;
  Trace trace_;
};

}  // namespace v4rt::cli
