#include "graph/runtime/report.h"

#include <algorithm>

#include "backend/lanes_choice.h"
#include "graph/runtime/kernel_form.h"

namespace v4rt {
namespace {

Json form_report(const std::string& cache_dir, const DeviceInfo& device) {
  const auto form = kernel_form(cache_dir, device);
  if (!form) return nullptr;
  return Json::Object{{"form", to_string(form->lanes)}, {"measured", form->measured}, {"why", form->why}};
}

}  // namespace

Json devices_report(const DeviceList& list, const std::string& cache_dir) {
  Json::Array devices;
  for (const DeviceInfo& device : list.devices) {
    devices.push_back(Json::Object{{"name", device.name},
                                   {"description", device.description},
                                   {"memory_bytes", device.memory},
                                   {"max_allocation_bytes", device.max_allocation},
                                   {"alignment_bytes", device.alignment},
                                   {"features", Json(device.features)},
                                   {"kernel_form", form_report(cache_dir, device)}});
  }
  return Json::Object{{"backends", Json(built_in_backends())},
                      {"libraries", Json(built_in_libraries())},
                      {"devices", std::move(devices)},
                      {"problems", Json(list.problems)}};
}

Explanation::Explanation(const Model& explained, int32_t tokens, int64_t position)
    : model(explained),
      plan(explained.plan(tokens == 1 ? 1 : explained.options().chunk, LogitsOf::kLastRows)),
      segment{0, static_cast<int32_t>(position), tokens} {
  const ModelOptions& options = model.options();
  check(tokens >= 1 && tokens <= options.chunk, Code::kInvalidArgument,
        "a step of {} tokens: this model's steps have 1 to {}; open it with a longer chunk", tokens, options.chunk);
  check(position >= 0 && position <= options.context - tokens, Code::kInvalidArgument,
        "a step of {} tokens at position {}: the context has {} positions", tokens, position, options.context);
  std::vector<Row> live(static_cast<size_t>(tokens));
  fill_rows({&segment, 1}, live);
  rows = explain(plan, {{&segment, 1}, live});
}

int64_t Explanation::transfers() const {
  return std::count_if(plan.steps.begin(), plan.steps.end(),
                       [](const PlanStep& step) { return std::holds_alternative<Transfer>(step); });
}

int64_t Explanation::launches() const {
  return std::ssize(plan.steps) - transfers() -
         std::ranges::count_if(rows, [](const ExplainRow& row) { return !row.joined.empty(); });
}

Json explain_report(const Explanation& e) {
  Json::Array nodes;
  for (const ExplainRow& row : e.rows) {
    nodes.push_back(Json::Object{{"node", row.node},
                                 {"op", row.op},
                                 {"device", row.device},
                                 {"kernel", row.kernel},
                                 {"joined", row.joined.empty() ? Json(nullptr) : Json(row.joined)},
                                 {"why", row.why.empty() ? Json(nullptr) : Json(row.why)},
                                 {"weight_bytes", row.weight_bytes},
                                 {"state_bytes", row.state_bytes},
                                 {"io_bytes", row.io_bytes},
                                 {"flops", row.flops}});
  }
  Json::Array devices;
  for (const auto& device : e.plan.devices)
    devices.push_back(
        Json::Object{{"name", device->info().name},
                     {"kernel_form", form_report(e.model.options().device_options.cache_dir, device->info())}});
  return Json::Object{{"tokens", e.segment.n_tokens},
                      {"position", e.segment.position},
                      {"devices", std::move(devices)},
                      {"nodes", std::move(nodes)},
                      {"launches", e.launches()},
                      {"transfers", e.transfers()},
                      {"rebinds", e.plan.rebinds.size()},
                      {"chunk", e.model.options().chunk},
                      {"arena_bytes", e.model.arena_bytes()},
                      {"state_bytes", e.model.state_bytes()},
                      {"weight_bytes", e.model.weight_bytes()},
                      {"refusals", Json(e.plan.refusals)}};
}

Json memory_report(std::span<const DeviceNeed> needs) {
  Json::Array devices;
  for (const auto& [device, need] : needs) {
    devices.push_back(Json::Object{{"device", device},
                                   {"weight_bytes", need.weights},
                                   {"state_bytes", need.states},
                                   {"arena_bytes", need.arena},
                                   {"io_bytes", need.io},
                                   {"staging_bytes", need.staging},
                                   {"pinned_bytes", need.pinned},
                                   {"largest_buffer_bytes", need.largest},
                                   {"total_bytes", need.total()}});
  }
  return Json::Object{{"devices", std::move(devices)}};
}

}  // namespace v4rt
