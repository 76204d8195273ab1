#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "backend/binary_store.h"
#include "backend/registry.h"
#include "examples/cli/command.h"
#include "examples/cli/format.h"
#include "examples/cli/model_options.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/terminal.h"
#include "loaders/text/utf8.h"
#include "ops/core/error.h"
#include "ops/core/human.h"

namespace v4rt::cli {
namespace {

namespace fs = std::filesystem;

struct CacheArguments {
  std::string action, device;
  bool json = false;
};

std::string_view kind(const StoredEntry& entry) {
  if (!entry.problem.empty()) return "unusable";
  return entry.path.ends_with(BinaryStore::kTimes) ? "times" : "program";
}

// Entries of the devices that --device chooses here; or, of one that is not there any more, by a part of its name.
void keep_device(std::vector<StoredEntry>& entries, const std::string& option) {
  const auto lower = [](const std::string& text) { return CLI::detail::to_lower(text); };
  const std::string wanted = lower(option == "opencl" ? "opencl:0" : option);
  std::vector<DeviceInfo> devices = list_devices().devices;
  const bool named = std::ranges::find(devices, wanted, &DeviceInfo::name) != devices.end();
  std::erase_if(devices, [&](const DeviceInfo& device) {
    return named ? device.name != wanted : lower(device.description).find(wanted) == std::string::npos;
  });
  std::erase_if(entries, [&](const StoredEntry& entry) {
    if (entry.device.empty()) return true;
    if (devices.empty()) return lower(entry.device).find(wanted) == std::string::npos;
    return std::ranges::none_of(devices, [&](const DeviceInfo& device) {
      return entry.device == device.name || device.description.starts_with(entry.device);
    });
  });
}

std::string age_text(double seconds) {
  if (seconds < 60) return fmt::format("{:.0f} s", std::max(seconds, 0.0));
  if (seconds < 3600) return fmt::format("{:.0f} min", seconds / 60);
  if (seconds < 86400) return fmt::format("{:.0f} h", seconds / 3600);
  return fmt::format("{:.0f} d", seconds / 86400);
}

uint64_t bytes_of(const std::vector<StoredEntry>& entries) {
  uint64_t sum = 0;
  for (const StoredEntry& entry : entries) sum += entry.bytes;
  return sum;
}

// "3 entries, 1.2 MiB"
std::string size_text(const std::vector<StoredEntry>& entries) {
  return fmt::format("{} {}, {}", entries.size(), entries.size() == 1 ? "entry" : "entries",
                     human_bytes(bytes_of(entries)));
}

std::string list_text(const std::string& folder, const std::vector<StoredEntry>& entries) {
  std::vector<std::vector<std::string>> cells = {{"kind", "device", "driver", "size", "age", "what"}};
  const std::time_t now = std::time(nullptr);
  for (const StoredEntry& e : entries)
    cells.push_back(
        {std::string(kind(e)), escaped(e.device), escaped(e.driver), human_bytes(e.bytes),
         age_text(std::difftime(now, e.written)),
         e.problem.empty()
             ? escaped(e.what)
             : fmt::format("{}: {}", escaped(e.what.empty() ? fs::path(e.path).filename().string() : e.what),
                           e.problem)});
  const std::string total = fmt::format("{}: {}\n", escaped(folder), size_text(entries));
  return entries.empty() ? total : table(cells, "<<<>><") + "\n" + total;
}

nlohmann::ordered_json list_json(const std::string& folder, const std::vector<StoredEntry>& entries) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  const std::time_t now = std::time(nullptr);
  for (const StoredEntry& e : entries) {
    list.push_back(
        {{"kind", kind(e)},
         {"what", e.what},
         {"device", e.device},
         {"driver", e.driver},
         {"bytes", e.bytes},
         {"age_seconds", std::difftime(now, e.written)},
         {"file", e.path},
         {"problem", e.problem.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(e.problem)}});
  }
  return {{"folder", folder}, {"bytes", bytes_of(entries)}, {"entries", std::move(list)}};
}

void remove(const std::vector<StoredEntry>& entries) {
  for (const StoredEntry& entry : entries) {
    std::error_code error;
    fs::remove(entry.path, error);
    check(!error, Code::kInvalidArgument, "{}: cannot be removed: {}", entry.path, error.message());
  }
}

int cache(const CacheArguments& arguments) {
  const std::string folder = cache_folder();
  check(!folder.empty(), Code::kNotFound, "there is no cache: set HOME or XDG_CACHE_HOME");
  std::vector<StoredEntry> entries = stored_entries(folder);
  if (!arguments.device.empty()) keep_device(entries, arguments.device);
  if (arguments.action == "list") {
    print(arguments.json ? json_text(list_json(folder, entries)) : list_text(folder, entries));
    return kSuccess;
  }
  remove(entries);
  print(arguments.json ? json_text({{"folder", folder}, {"removed", entries.size()}, {"bytes", bytes_of(entries)}})
                       : fmt::format("{}: removed {}\n", escaped(folder), size_text(entries)));
  return kSuccess;
}

}  // namespace

void add_cache(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<CacheArguments>();
  CLI::App* command = app.add_subcommand(
      "cache",
      "List or clear what is kept between runs: compiled OpenCL programs, and times that --fast measured.\n"
      "Files of --weight-cache are not part of it.");
  command->add_option("ACTION", arguments->action, "list or clear")
      ->check(CLI::IsMember({"list", "clear"}))
      ->required();
  command
      ->add_option("--device", arguments->device,
                   "Only what is kept for this device: its name, or a part of its description (see 'v4rt devices')")
      ->check(nonempty());
  command->add_flag("--json", arguments->json, "Print JSON");
  command->callback([arguments, &action] { action = [arguments] { return cache(*arguments); }; });
}

}  // namespace v4rt::cli
