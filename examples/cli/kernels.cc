#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>

#include "backend/registry.h"
#include "examples/cli/command.h"
#include "examples/cli/format.h"
#include "examples/cli/interrupt.h"
#include "examples/cli/model_options.h"
#include "examples/cli/option_checks.h"
#include "examples/cli/output_file.h"
#include "examples/cli/terminal.h"
#include "loaders/synthetic/v4_release.h"
#include "loaders/synthetic/weight_types.h"
#include "loaders/text/utf8.h"
#include "ops/core/error.h"

namespace v4rt::cli {
namespace {

namespace fs = std::filesystem;

struct KernelsArguments {
  ModelArguments model;
  std::string release, dump;
};

// Files of an earlier dump, or of something else, would be mixed with these.
void check_folder(const std::string& folder) {
  std::error_code error;
  const bool free = !fs::exists(folder, error) || fs::is_empty(folder, error);
  check(free && !error, Code::kInvalidArgument, "--dump {}: {}; name another folder", folder,
        error ? error.message() : "is not empty");
}

void write(const fs::path& path, std::span<const std::byte> bytes) {
  OutputFile file(path.string(), {});
  file.append(bytes);
  file.commit();
}

// The released models are not here, and need not be: programs follow from the types of weights.
Checkpoint open(const KernelsArguments& arguments) {
  if (arguments.release.empty()) return open_files(arguments.model);
  return {.weights = synthetic_types(arguments.release == "pro" ? v4_pro_config() : v4_flash_config())};
}

// The devices of a model's plans, with the programs that these take. No weights are loaded.
std::vector<std::shared_ptr<Device>> compile(const KernelsArguments& arguments) {
  const Checkpoint checkpoint = open(arguments);
  ModelOptions options = model_options(checkpoint, arguments.model, 1);
  constexpr int kSomeTokens = 32;  // programs are the same for any chunk, also for one that memory does not allow
  if (options.chunk == 0) options.chunk = static_cast<int>(std::min<int64_t>(kSomeTokens, options.context));
  options.device_options.compiler.clear();  // binaries have no log
  std::vector<std::shared_ptr<Device>> devices;
  options.find_device = [&](std::string_view name) {
    return devices.emplace_back(create_device(name, options.device_options));
  };
  const InterruptGuard interrupt(InterruptGuard::Mode::kOnce);
  Progress progress("compiling");
  options.progress = [&](std::string_view, double done) {
    if (InterruptGuard::raised()) throw Interrupted();
    progress.update(done);
  };
  Model::memory_needed(checkpoint.weights, options);
  return devices;
}

// Writes the files of one program, named by its number and its kernel file; returns what the index says of it.
nlohmann::ordered_json dump(const DeviceProgram& program, const fs::path& folder, size_t number) {
  const std::string name = fmt::format("{:02}-{}", number, fs::path(program.file).stem().string());
  nlohmann::ordered_json functions = nlohmann::ordered_json::array();
  for (const DeviceProgram::Function& f : program.functions)
    functions.push_back({{"name", f.name}, {"work_group_size", f.group}});
  nlohmann::ordered_json json = {{"file", program.file}, {"options", program.options}, {"kernels", functions}};
  const auto add = [&](const char* key, const char* suffix, std::span<const std::byte> bytes) {
    write(folder / (name + suffix), bytes);
    json[key] = name + suffix;
  };
  add("source", ".cl", std::as_bytes(std::span(program.source)));
  add("binary", ".bin", program.binary);
  add("log", ".log", std::as_bytes(std::span(program.log)));
  return json;
}

int kernels(KernelsArguments arguments) {
  check_folder(arguments.dump);
  arguments.model.no_cache = true;
  nlohmann::ordered_json devices = nlohmann::ordered_json::array();
  size_t count = 0;
  for (const auto& device : compile(arguments)) {
    const std::vector<DeviceProgram> made = device->programs();
    if (made.empty()) continue;
    fs::create_directories(arguments.dump);
    nlohmann::ordered_json programs = nlohmann::ordered_json::array();
    for (const DeviceProgram& program : made) programs.push_back(dump(program, arguments.dump, count++));
    devices.push_back({{"device", device->info().name},
                       {"description", device->info().description},
                       {"programs", std::move(programs)}});
  }
  check(count > 0, Code::kUnsupported,
        "{} compiles no programs, its kernels are part of v4rt; name an OpenCL device with --device",
        arguments.model.device);
  const std::string& name = arguments.release.empty() ? arguments.model.model : arguments.release;
  const std::string index = json_text({{"model", name}, {"devices", std::move(devices)}});
  write(fs::path(arguments.dump) / "index.json", std::as_bytes(std::span(index)));
  print(fmt::format("{}: {} programs and index.json\n", escaped(arguments.dump), count));
  return kSuccess;
}

}  // namespace

void add_kernels(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<KernelsArguments>();
  CLI::App* command = app.add_subcommand(
      "kernels",
      "Write every program that a device compiles for a model, for its decoding and its prompts: source text, options, "
      "binary and the compiler's log, with an index of the kernels. Everything is built from source.");
  auto* model = add_model(*command, arguments->model)->required(false);
  auto* release =
      command->add_option("--release", arguments->release, "In place of MODEL: flash or pro, of which nothing is read")
          ->check(CLI::IsMember({"flash", "pro"}));
  model->excludes(release);
  command->add_option("--dump", arguments->dump, "The folder to write to: new, or empty")
      ->required()
      ->check(nonempty());
  add_options(*command, arguments->model);
  command->callback([arguments, model, release, &action] {
    if (model->count() + release->count() == 0) throw CLI::RequiredError("MODEL or --release");
    action = [arguments] { return kernels(*arguments); };
  });
}

}  // namespace v4rt::cli
