#include "examples/cli/model_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <span>

#include "examples/cli/command.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/terminal.h"
#include "graph/runtime/profiles.h"
#include "ops/core/glob.h"

namespace v4rt::cli {
namespace {

namespace fs = std::filesystem;

// Looks beside the installed program, in the tree where it was built, and in the source tree.
std::string embedded_model() {
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  const fs::path prefix = program.parent_path().parent_path();
  const std::vector<fs::path> places = {prefix / "share/v4rt/models/v4-mini",
                                        prefix.parent_path() / "examples/models/v4-mini", V4RT_MINI_PATH};
  for (const fs::path& place : places) {
    std::error_code error;
    if (fs::exists(place / "config.json", error)) return place.string();
    check(!error, Code::kInvalidArgument, "mini: {} cannot be read: {}", place.string(), error.message());
  }
  fail(Code::kNotFound, "mini: the embedded model was not found; looked in {}, {} and {}", places[0].string(),
       places[1].string(), places[2].string());
}

std::pair<std::string, std::string> placement(const std::string& rule) {
  const size_t equals = rule.rfind('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == rule.size())
    throw UsageError(fmt::format("--place {}: expected PATTERN=DEVICE, for instance --place '*.experts.*=cpu'", rule));
  return {rule.substr(0, equals), rule.substr(equals + 1)};
}

// Each limit is bytes of the host's memory, or "DEVICE=BYTES".
void limit_memory(ModelOptions& options, const std::vector<std::string>& limits) {
  for (const std::string& limit : limits) {
    const size_t equals = limit.rfind('=');
    const size_t bytes = std::stoull(limit.substr(equals == std::string::npos ? 0 : equals + 1));
    if (equals == std::string::npos)
      options.memory = bytes;
    else
      options.device_memory.emplace_back(limit.substr(0, equals), bytes);
  }
}

int64_t context_for(const ModelArguments& arguments, int64_t positions, const V4Config& config) {
  const int64_t limit = config.max_position;
  if (arguments.context > 0) {
    check(positions <= arguments.context, Code::kInvalidArgument,
          "--context {}: {} positions are needed; ask for --context {} or more, or for fewer tokens", arguments.context,
          positions, positions);
    return arguments.context;
  }
  check(positions <= limit, Code::kInvalidArgument,
        "{} positions are needed, the model was made for at most {} (max_position_embeddings); give it fewer tokens",
        positions, limit);
  constexpr int64_t kLeast = 4096, kStep = 256;
  return std::min(std::max(kLeast, (positions + kStep - 1) / kStep * kStep), limit);
}

// A device that does not exist is an error of the command line. Checked only after opening has failed, since it takes
// time.
void blame_device_option(const ModelOptions& options) {
  const auto check_name = [&](const std::string& option, const std::string& name) {
    try {
      create_profiled_device(name, options.device_options);
    } catch (const Error& e) {
      if (e.code() == Code::kNotFound || e.code() == Code::kInvalidArgument)
        throw UsageError(fmt::format("{}: {}", option, e.what()));
    }
  };
  check_name("--device", options.device);
  for (const auto& [pattern, device] : options.place) check_name(fmt::format("--place {}={}", pattern, device), device);
}

// A pattern that matches no node is a typing error.
void check_patterns(const Model& model) {
  const Plan& plan = model.plan(1, LogitsOf::kLastRows);
  for (const auto& [pattern, device] : model.options().place) {
    const auto matches = [&pattern = pattern](const PlanStep& step) {
      const Launch* launch = std::get_if<Launch>(&step);
      return launch != nullptr && glob_match(pattern, launch->node);
    };
    if (!std::any_of(plan.steps.begin(), plan.steps.end(), matches))
      throw UsageError(
          fmt::format("--place {}={}: no node has such a name; 'v4rt explain MODEL' lists them", pattern, device));
  }
}

// With --strict: no node may have been refused by the device that it was meant for.
void check_strict(const Model& model) {
  const std::vector<std::string>& refusals = model.plan(model.options().chunk, LogitsOf::kLastRows).refusals;
  check(refusals.empty(), Code::kUnsupported, "--strict: some nodes would run elsewhere:\n  {}",
        fmt::join(refusals, "\n  "));
}

}  // namespace

CLI::Option* add_model(CLI::App& command, ModelArguments& a) {
  return command.add_option("MODEL", a.model, "A folder or .safetensors file, or 'mini' for the embedded model")
      ->required()
      ->check(nonempty());
}

void add_device_options(CLI::App& command, ModelArguments& a) {
  command
      .add_option("--device", a.device,
                  "reference, cpu, opencl, opencl:1, opencl:1/0 (a NUMA domain of it, or a half), or a part of a "
                  "device's name (see 'v4rt devices')")
      ->capture_default_str();
  command
      .add_option("--profile", a.profile,
                  "Let the device be no more than an accelerator that is described: the name of a profile, or a file; "
                  "what that refuses runs on the cpu (backend/profiles)")
      ->check(nonempty());
  command
      .add_option("--threads", a.threads,
                  "Threads of the cpu device (default: one per processor that the process may use)")
      ->transform(between(1, 4096));
  command
      .add_option("--lanes", a.lanes,
                  "The form of OpenCL kernels, vector or work-items (default: what was measured to be faster on the "
                  "device); the results are the same")
      ->check(CLI::IsMember({"vector", "work-items"}));
  command
      .add_option(
          "--launches", a.launches,
          "Whether OpenCL launches of one token end, short, or go on with small ops that follow, long (default: "
          "long where the device is no processor and offers fences of device scope); the results are the same")
      ->check(CLI::IsMember({"short", "long"}));
}

void add_plan_options(CLI::App& command, ModelArguments& a) {
  add_device_options(command, a);
  command.add_option("--numbers", a.numbers, "faithful: rounded as the release rounds; plain: fp32 throughout")
      ->check(CLI::IsMember({"faithful", "plain"}))
      ->capture_default_str();
  command
      .add_option("--context", a.context, "Positions to hold state for (default: what the work needs, at least 4096)")
      ->transform(between(int64_t{1}, int64_t{1} << 40));
  command
      .add_option(
          "--reserve", a.reserve,
          "Positions to take memory for at once where it cannot grow in place, as on OpenCL devices; beyond them "
          "it is taken as sequences grow (default: 4096, at most the context)")
      ->transform(between(int64_t{1}, int64_t{1} << 40));
  command
      .add_option(
          "--chunk", a.chunk,
          "Prompt tokens read at once; the results do not depend on it (default: 2048, fewer where memory is short)")
      ->transform(between(1, 1 << 16));
  command
      .add_option("--place", a.place,
                  "PATTERN=DEVICE: nodes whose name matches run there; may be repeated, first match wins")
      ->allow_extra_args(false);
}

void add_options(CLI::App& command, ModelArguments& a) {
  add_plan_options(command, a);
  command.add_flag("--strict", a.strict,
                   "Let no node run on another device than it was meant for: an error with every reason instead");
  command
      .add_flag(
          "--fast{auto}", a.fast,
          "Let prompts be read with a library's products (Eigen, oneDNN, CLBlast) where those were measured to be "
          "faster, or, with --fast=always, wherever there are any: results then differ in last bits")
      ->check(CLI::IsMember({"auto", "always"}));
  auto* weight_cache = command.add_option(
      "--weight-cache", a.weight_cache,
      "A folder for weights as the device wants them: written once, mapped from then on; for instance "
      "~/.cache/v4rt/weights");
  weight_cache->check(nonempty());
  command
      .add_option(
          "--memory", a.memory,
          "Host memory that the model may take, such as 8GiB (default: what is available); or that of a device, "
          "such as opencl:0=512MiB: what does not fit moves to the next device that --place names, or the cpu; "
          "may be repeated")
      ->transform(after_equals(bytes_between(1, uint64_t{1} << 60)))
      ->allow_extra_args(false);
  command
      .add_flag("--no-mmap", a.no_mmap,
                "Read files whole in place of mapping them: nothing that happens to them later matters")
      ->excludes(weight_cache);
  command.add_flag("--no-cache", a.no_cache, "Keep no compiled OpenCL programs and no measurements on disk");
}

std::string cache_folder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && fs::path(cache).is_absolute()) return (fs::path(cache) / "v4rt").string();
  const char* home = std::getenv("HOME");
  return home != nullptr && *home != '\0' ? (fs::path(home) / ".cache/v4rt").string() : "";
}

std::string model_path(const std::string& model) { return model == "mini" ? embedded_model() : model; }

Checkpoint open_files(const ModelArguments& arguments) {
  return open_checkpoint(model_path(arguments.model), arguments.no_mmap ? FileAccess::kRead : FileAccess::kMap);
}

std::vector<std::string> input_files(const Checkpoint& checkpoint, const ModelArguments& arguments) {
  std::vector<std::string> files;
  for (const std::string& folder : {checkpoint.folder, arguments.weight_cache}) {
    std::error_code unreadable;
    for (const auto& entry : fs::directory_iterator(folder, unreadable)) files.push_back(entry.path().string());
  }
  return files;
}

std::shared_ptr<const Tokenizer> open_tokenizer(const Checkpoint& checkpoint) {
  return Tokenizer::open((fs::path(checkpoint.folder) / "tokenizer.json").string());
}

void add_plain(CLI::App& command, bool& plain) {
  command.add_flag("--plain", plain, "Control tokens in the text, such as <｜User｜>, are text like any other");
}

std::vector<int32_t> encode_text(const Tokenizer& tokenizer, const std::string& text, const V4Config& config,
                                 bool plain) {
  std::vector<int32_t> ids = tokenizer.encode(text, !plain);
  if (ids.empty() || ids.front() != config.bos_token_id) ids.insert(ids.begin(), config.bos_token_id);
  return ids;
}

std::string device_name(const ModelArguments& arguments) {
  return arguments.profile.empty() ? arguments.device : arguments.device + "+" + arguments.profile;
}

DeviceOptions device_options(const ModelArguments& a) {
  DeviceOptions options;
  options.threads = a.threads;
  options.fast = fast_mode(a);
  if (!a.no_cache) options.cache_dir = cache_folder();
  options.compiler = {"/proc/self/exe", kCompileFor};
  if (!a.lanes.empty()) options.lanes = a.lanes == "vector" ? Lanes::kVector : Lanes::kWorkItems;
  if (!a.launches.empty()) options.long_launches = a.launches == "long";
  return options;
}

NumberMode number_mode(const ModelArguments& arguments) {
  return arguments.numbers == "plain" ? NumberMode::kPlain : NumberMode::kFaithful;
}

Fast fast_mode(const ModelArguments& arguments) {
  return arguments.fast.empty() ? Fast::kNever : arguments.fast == "always" ? Fast::kAlways : Fast::kAuto;
}

void add_draft(CLI::App& command, ModelArguments& a) {
  command
      .add_option("--draft", a.draft,
                  "Guess so many tokens ahead by the MTP block, 1 to 4: changes the time, and not the text")
      ->transform(between(0, 4));
}

int drafts(const ModelArguments& a, const V4Config& config) {
  if (a.draft > 0 && !config.has_mtp)
    say("This checkpoint has no MTP block to guess with: going on without --draft.\n");
  return config.has_mtp ? a.draft : 0;
}

ModelOptions model_options(const Checkpoint& checkpoint, const ModelArguments& a, int64_t positions) {
  ModelOptions options;
  options.device = device_name(a);
  for (const std::string& rule : a.place) options.place.push_back(placement(rule));
  limit_memory(options, a.memory);
  if (!a.profile.empty() || !options.device_memory.empty()) {  // what is refused, or has no room, must find a device
    options.place.emplace_back("*", options.device);
    options.place.emplace_back("*", "cpu");
  }
  options.device_options = device_options(a);
  options.weight_cache = a.weight_cache;
  options.weight_cache_hint = "--weight-cache " + (cache_folder().empty() ? "DIR" : cache_folder() + "/weights");
  options.numbers = number_mode(a);
  if (a.reserve > 0) options.reserve = a.reserve;
  options.context = context_for(a, positions, checkpoint.weights->config());
  options.chunk = a.chunk;
  options.slots = a.slots;
  options.draft = drafts(a, checkpoint.weights->config());
  return options;
}

std::shared_ptr<const Model> open_model(const Checkpoint& checkpoint, const ModelArguments& a, int64_t positions,
                                        bool mtp) {
  ModelOptions options = model_options(checkpoint, a, positions);
  options.mtp = mtp;
  const auto progress = std::make_shared<Progress>("opening");
  options.progress = [&](std::string_view what, double done) {
    if (InterruptGuard::raised()) throw Interrupted();
    progress->update(what, done);
  };
  // A plan that is made later may measure too, and then nothing is shown.
  options.device_options.measuring = [shown = std::weak_ptr(progress)](std::string_view what) {
    if (InterruptGuard::raised()) throw Interrupted();
    if (const auto bar = shown.lock()) bar->update("measuring", 0, what);
  };
  try {
    auto model = Model::open(checkpoint.weights, options);
    check_patterns(*model);
    if (a.strict) check_strict(*model);
    return model;
  } catch (const Error&) {
    progress->clear();
    blame_device_option(options);
    throw;
  }
}

}  // namespace v4rt::cli
