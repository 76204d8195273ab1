#include "backend/registry.h"
#include "graph/api/boundary.h"
#include "loaders/checkpoint/checkpoint.h"
#include "ops/core/log.h"

using v4rt::Code;
using v4rt::api::guarded;
using v4rt::api::require;

v4rt_status v4rt_devices(void (*visit)(const v4rt_device_info* info, void* user), void* user) {
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
      visit(&info, user);
    }
  });
}

namespace {

v4rt::ModelOptions model_options(const v4rt_model_options& o) {
  v4rt::check(o.numbers == V4RT_FAITHFUL || o.numbers == V4RT_PLAIN, Code::kInvalidArgument,
              "v4rt_model_options.numbers is {}; it is V4RT_FAITHFUL or V4RT_PLAIN", o.numbers);
  v4rt::check(o.context >= 0 && o.chunk >= 0 && o.threads >= 0, Code::kInvalidArgument,
              "v4rt_model_options: context {}, chunk {}, threads {}; none may be negative", o.context, o.chunk,
              o.threads);
  v4rt::ModelOptions options;
  if (o.device != nullptr) options.device = o.device;
  if (o.cache_dir != nullptr) options.device_options.cache_dir = o.cache_dir;
  if (o.weight_cache != nullptr) options.weight_cache = o.weight_cache;
  options.weight_cache_hint = "set v4rt_model_options.weight_cache to a folder";
  options.device_options.threads = o.threads;
  v4rt::check(o.fast >= V4RT_EXACT && o.fast <= V4RT_FAST_ALWAYS, Code::kInvalidArgument,
              "v4rt_model_options.fast is {}; it is a v4rt_fast", o.fast);
  options.device_options.fast = static_cast<v4rt::Fast>(o.fast);
  options.numbers = o.numbers == V4RT_PLAIN ? v4rt::NumberMode::kPlain : v4rt::NumberMode::kFaithful;
  if (o.context > 0) options.context = o.context;
  if (o.chunk > 0) options.chunk = o.chunk;
  if (o.progress != nullptr) {
    options.progress = [progress = o.progress, user = o.progress_user](std::string_view what, double done) {
      progress(std::string(what).c_str(), done, user);
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
    const auto access = given.no_mmap != 0 ? v4rt::FileAccess::kRead : v4rt::FileAccess::kMap;
    *model = new v4rt_model{v4rt::Model::open(v4rt::open_checkpoint(path, access).weights, opened)};
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
