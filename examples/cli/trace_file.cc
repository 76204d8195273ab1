#include "examples/cli/trace_file.h"

#include "examples/cli/option_checks.h"

namespace v4rt::cli {

CLI::Option* add_trace(CLI::App& command, std::string& path) {
  return command
      .add_option("--trace", path,
                  "Also write when each launch ran to this file, for https://ui.perfetto.dev; launches are then waited "
                  "for one by one")
      ->check(nonempty());
}

TraceFile::TraceFile(const std::string& path, const std::vector<std::string>& inputs) {
  if (!path.empty()) file_.emplace(path, inputs);
}

void TraceFile::watch(Session& session) {
  if (file_) trace_.watch(session);
}

void TraceFile::write() {
  if (!file_) return;
  const std::string text = trace_.json();
  file_->append(std::as_bytes(std::span(text)));
  file_->commit();
}

}  // namespace v4rt::cli
