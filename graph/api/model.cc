#include <charconv>

#include "backend/registry.h"
#include "graph/api/arrays.h"
#include "graph/api/boundary.h"
#include "graph/runtime/report.h"
#include "loaders/checkpoint/checkpoint.h"
#include "ops/core/log.h"

using v4rt::Code;
using v4rt::api::check_flag;
using v4rt::api::go_on;
using v4rt::api::guarded;
using v4rt::api::require;

namespace {

// Bytes that are not UTF-8, as in names of files, become U+FFFD.
char* allocated_json(const v4rt::Json& json) { return v4rt::api::allocated_text(json.pretty()); }

}  // namespace

v4rt_status v4rt_devices(int (*visit)(const v4rt_device_info* info, void* user), void* user) {
  return guarded([&] {
    v4rt::check(visit != nullptr, Code::kInvalidArgument, "v4rt_devices: visit is NULL");
    const v4rt::DeviceList found = v4rt::list_devices();
    for (const std::string& problem : found.problems) v4rt::log::warn("not usable: {}", problem);
    for (const v4rt::DeviceInfo& device : found.devices) {
      v4rt_device_info info{};
      info.struct_size = sizeof(info);
      info.name = device.name.c_str();
      info.description = device.description.c_str();
      info.memory = device.memory;
      info.max_allocation = device.max_allocation;
      go_on(visit(&info, user), "v4rt_devices");
    }
  });
}

v4rt_status v4rt_devices_json(char** json) {
  return guarded([&] {
    require(json, "v4rt_devices_json: json");
    *json = allocated_json(v4rt::devices_report(v4rt::list_devices()));
  });
}

namespace {

v4rt::FileAccess file_access(const v4rt_model_options& o) {
  return o.no_mmap != 0 ? v4rt::FileAccess::kRead : v4rt::FileAccess::kMap;
}

// "NAME=VALUE", cut at the last '='.
std::pair<std::string, std::string> assignment(const char* text, std::string_view what, std::string_view form) {
  require(text, what);
  const std::string_view rule = text;
  const size_t equals = rule.rfind('=');
  v4rt::check(equals != std::string_view::npos && equals > 0 && equals + 1 < rule.size(), Code::kInvalidArgument,
              "{}: '{}' is not {}", what, rule, form);
  return {std::string(rule.substr(0, equals)), std::string(rule.substr(equals + 1))};
}

size_t byte_count(std::string_view text, std::string_view what) {
  size_t bytes = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  v4rt::check(error == std::errc() && end == text.data() + text.size(), Code::kInvalidArgument,
              "{}: '{}' is not a number of bytes", what, text);
  return bytes;
}

v4rt::ModelOptions model_options(const v4rt_model_options& o) {
  v4rt::check(o.numbers == V4RT_FAITHFUL || o.numbers == V4RT_PLAIN, Code::kInvalidArgument,
              "v4rt_model_options.numbers is {}; it is V4RT_FAITHFUL or V4RT_PLAIN", o.numbers);
  v4rt::check(o.context >= 0 && o.chunk >= 0 && o.threads >= 0, Code::kInvalidArgument,
              "v4rt_model_options: context {}, chunk {}, threads {}; none may be negative", o.context, o.chunk,
              o.threads);
  v4rt::check(o.fast >= V4RT_EXACT && o.fast <= V4RT_FAST_ALWAYS, Code::kInvalidArgument,
              "v4rt_model_options.fast is {}; it is a v4rt_fast", o.fast);
  check_flag(o.mtp, "v4rt_model_options.mtp");
  check_flag(o.no_mmap, "v4rt_model_options.no_mmap");
  v4rt::api::check_reserved(o.reserved, "v4rt_model_options");
  v4rt::check(o.reserved2 == 0, Code::kUnsupported, "v4rt_model_options.reserved2 is {}; leave it 0", o.reserved2);
  v4rt::check(o.thread_sharing >= V4RT_THREADS_FIRST && o.thread_sharing <= V4RT_THREADS_OWN, Code::kInvalidArgument,
              "v4rt_model_options.thread_sharing is {}; it is a v4rt_thread_sharing", o.thread_sharing);
  v4rt::check((o.allocate == nullptr) == (o.release == nullptr), Code::kInvalidArgument,
              "v4rt_model_options: allocate and release are set together or not at all");
  v4rt::check(o.reserve >= 0, Code::kInvalidArgument, "v4rt_model_options.reserve is {}; it may not be negative",
              o.reserve);
  v4rt::check(o.slots >= 0 && o.rewind >= -1, Code::kInvalidArgument,
              "v4rt_model_options: slots {}, rewind {}; slots are 0 or more, rewind -1 or more", o.slots, o.rewind);
  if (o.n_place > 0) require(o.place, "v4rt_model_options.place");
  if (o.n_memory > 0) require(o.memory, "v4rt_model_options.memory");
  v4rt::ModelOptions options;
  if (o.device != nullptr) options.device = o.device;
  for (const char* rule : std::span(o.place, o.n_place))
    options.place.push_back(assignment(rule, "v4rt_model_options.place", "PATTERN=DEVICE"));
  const bool on_cpu = options.device == "cpu" ||
                      std::ranges::any_of(options.place, [](const auto& rule) { return rule.second == "cpu"; });
  v4rt::check(
      o.allocate == nullptr || on_cpu, Code::kUnsupported,
      "v4rt_model_options.allocate is for buffers of the cpu device, where nothing of this model runs: {} takes "
      "its own memory",
      options.device);
  for (const char* limit : std::span(o.memory, o.n_memory)) {
    const auto [device, bytes] = assignment(limit, "v4rt_model_options.memory", "DEVICE=BYTES");
    options.device_memory.emplace_back(device, byte_count(bytes, "v4rt_model_options.memory"));
  }
  if (o.cache_dir != nullptr) options.device_options.cache_dir = o.cache_dir;
  if (o.program != nullptr) options.device_options.compiler = {o.program, v4rt::kCompileFor};
  if (o.weight_cache != nullptr) options.weight_cache = o.weight_cache;
  options.weight_cache_hint = "set v4rt_model_options.weight_cache to a folder";
  options.device_options.threads = o.threads;
  options.device_options.fast = static_cast<v4rt::Fast>(o.fast);
  options.device_options.cpu = {static_cast<v4rt::ThreadSharing>(o.thread_sharing),
                                {o.allocate, o.release, o.memory_user}};
  options.device_options.host_opencl = {o.opencl_context, o.opencl_device, o.opencl_queue};
  options.numbers = o.numbers == V4RT_PLAIN ? v4rt::NumberMode::kPlain : v4rt::NumberMode::kFaithful;
  if (o.context > 0) options.context = o.context;
  options.chunk = o.chunk;
  if (o.reserve > 0) options.reserve = o.reserve;
  if (o.slots > 0) options.slots = o.slots;
  if (o.rewind != 0) options.rewind = std::max(o.rewind, 0);
  options.draft = o.draft;
  options.mtp = o.mtp != 0;
  if (o.progress != nullptr) {
    options.progress = [progress = o.progress, user = o.progress_user](std::string_view what, double done) {
      go_on(progress(std::string(what).c_str(), done, user), "opening the model");
    };
  }
  return options;
}

}  // namespace

v4rt_status v4rt_model_open(const char* path, const v4rt_model_options* options, v4rt_model** model) {
  return guarded([&] {
    require(path, "v4rt_model_open: path");
    require(model, "v4rt_model_open: model");
    const auto given = v4rt::api::read_options(options, "v4rt_model_options");
    const auto opened = model_options(given);
    *model = new v4rt_model{v4rt::Model::open(v4rt::open_checkpoint(path, file_access(given)).weights, opened)};
  });
}

namespace {

std::vector<v4rt::GivenFile> given_files(const v4rt_file* files, size_t n_files) {
  std::vector<v4rt::GivenFile> given;
  for (const v4rt_file& file : v4rt::api::read_array(files, n_files, "v4rt_file")) {
    require(file.name, "v4rt_file: name");
    v4rt::GivenFile& out = given.emplace_back(v4rt::GivenFile{.name = file.name, .size = file.size});
    if (file.data != nullptr) {
      out.bytes = {static_cast<const std::byte*>(file.data), file.size};
      continue;
    }
    v4rt::check(file.read != nullptr, Code::kInvalidArgument, "v4rt_file '{}' has neither data nor read", file.name);
    out.read = [read = file.read, user = file.user, name = out.name](uint64_t offset, std::span<std::byte> to) {
      go_on(read(offset, to.data(), to.size(), user), "reading " + name);
    };
  }
  return given;
}

}  // namespace

v4rt_status v4rt_model_open_files(const v4rt_file* files, size_t n_files, const v4rt_model_options* options,
                                  v4rt_model** model) {
  return guarded([&] {
    require(model, "v4rt_model_open_files: model");
    const auto opened = model_options(v4rt::api::read_options(options, "v4rt_model_options"));
    const auto checkpoint = v4rt::open_checkpoint(v4rt::given_source(given_files(files, n_files)));
    *model = new v4rt_model{v4rt::Model::open(checkpoint.weights, opened)};
  });
}

v4rt_status v4rt_memory_needed(const char* path, const v4rt_model_options* options, char** json) {
  return guarded([&] {
    require(path, "v4rt_memory_needed: path");
    require(json, "v4rt_memory_needed: json");
    const auto given = v4rt::api::read_options(options, "v4rt_model_options");
    const auto planned = model_options(given);
    const auto weights = v4rt::open_checkpoint(path, file_access(given)).weights;
    *json = allocated_json(v4rt::memory_report(v4rt::Model::memory_needed(weights, planned)));
  });
}

void v4rt_model_close(v4rt_model* model) { delete model; }

v4rt_status v4rt_model_get_info(const v4rt_model* model, v4rt_model_info* info) {
  return guarded([&] {
    require(model, "v4rt_model_get_info: model");
    require(info, "v4rt_model_get_info: info");
    const v4rt::V4Config& config = model->model->config();
    v4rt_model_info result{};
    result.vocab_size = config.vocab_size;
    result.context = model->model->options().context;
    result.layers = config.num_layers;
    result.bos_token = config.bos_token_id;
    result.eos_token = config.eos_token_ids.front();
    result.has_mtp = config.has_mtp ? 1 : 0;
    result.weight_bytes = model->model->weight_bytes();
    result.state_bytes = model->model->state_bytes();
    result.arena_bytes = model->model->arena_bytes();
    result.chunk = model->model->options().chunk;
    v4rt::api::write_result(result, info, "v4rt_model_info");
  });
}

v4rt_status v4rt_model_end_tokens(const v4rt_model* model, const int32_t** ids, size_t* n_ids) {
  return guarded([&] {
    require(model, "v4rt_model_end_tokens: model");
    require(ids, "v4rt_model_end_tokens: ids");
    require(n_ids, "v4rt_model_end_tokens: n_ids");
    const std::vector<int32_t>& end_tokens = model->model->config().eos_token_ids;
    *ids = end_tokens.data();
    *n_ids = end_tokens.size();
  });
}

v4rt_status v4rt_model_explain(const v4rt_model* model, int32_t tokens, int64_t position, char** json) {
  return guarded([&] {
    require(model, "v4rt_model_explain: model");
    require(json, "v4rt_model_explain: json");
    *json = allocated_json(v4rt::explain_report(v4rt::Explanation(*model->model, tokens, position)));
  });
}
