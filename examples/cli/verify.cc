#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "examples/cli/command.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/terminal.h"
#include "loaders/text/utf8.h"
#include "loaders/weight_file/weight_file.h"
#include "ops/core/error.h"
#include "ops/core/human.h"

namespace v4rt::cli {
namespace {

namespace fs = std::filesystem;

// `path` itself, or the weight caches of a folder.
std::vector<std::string> files_at(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return {path};
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (entry.path().extension() == ".weights") files.push_back(entry.path().string());
  }
  check(!error, Code::kInvalidArgument, "{}: cannot be read: {}", path, error.message());
  check(!files.empty(), Code::kNotFound, "{}: holds no weight cache; name the folder that --weight-cache names", path);
  std::sort(files.begin(), files.end());
  return files;
}

int verify(const std::vector<std::string>& paths) {
  int status = kSuccess;
  for (const std::string& path : paths) {
    for (const std::string& file : files_at(path)) {
      Progress progress("checking");
      try {
        const auto weights = WeightFile::open(file, std::nullopt);
        weights->check_all([&](double done) { progress.update(done); });
        progress.clear();
        print(fmt::format("{}: {} weights, {}, as they were written\n", escaped(file), weights->weights(),
                          human_bytes(static_cast<double>(weights->bytes()))));
      } catch (const Error& e) {  // go on with the others
        progress.clear();
        say(fmt::format("v4rt verify: {}\n", escaped_lines(e.what())));
        status = kFailure;
      }
    }
  }
  return status;
}

}  // namespace

void add_verify(CLI::App& app, Action& action) {
  auto paths = std::make_shared<std::vector<std::string>>();
  CLI::App* command = app.add_subcommand("verify", "Read weight caches, and compare them with their checksums.");
  command->add_option("PATH", *paths, "Folders of weight caches, or files of them")->required()->check(nonempty());
  command->callback([paths, &action] { action = [paths] { return verify(*paths); }; });
}

}  // namespace v4rt::cli
