#include <charconv>

#include "graph/plan/plan.h"

namespace v4rt {
namespace {

const Slot& slot(const Plan& plan, SlotId id) { return plan.slots[static_cast<size_t>(id)]; }

const std::string& device_name(const Plan& plan, int device) {
  return plan.devices[static_cast<size_t>(device)]->info().name;
}

ExplainRow explain_launch(const Plan& plan, const Launch& launch, const Step& step) {
  std::vector<TensorType> inputs;
  for (int i = 0; i < launch.n_inputs; ++i) inputs.push_back(slot(plan, launch.args[static_cast<size_t>(i)]).type);
  const Cost cost = launch.op->cost(inputs, step);
  return {.node = launch.node,
          .op = launch.op->describe(),
          .device = device_name(plan, launch.device),
          .kernel = launch.kernel->name,
          .weight_bytes = cost.weight_bytes,
          .state_bytes = cost.state_bytes,
          .io_bytes = cost.io_bytes,
          .flops = cost.flops,
          .why = launch.why,
          .layer = layer_of(launch.node)};
}

ExplainRow explain_transfer(const Plan& plan, const Transfer& transfer) {
  const Slot& from = slot(plan, transfer.from);
  const Slot& to = slot(plan, transfer.to);
  return {.node = from.name,
          .op = "transfer",
          .device = device_name(plan, from.device) + " -> " + device_name(plan, to.device),
          .kernel = "",
          .weight_bytes = 0,
          .state_bytes = 0,
          .io_bytes = static_cast<double>(from.type.bytes() + from.type.scale_bytes()),
          .flops = 0,
          .layer = layer_of(from.name)};
}

}  // namespace

int layer_of(std::string_view node) {
  int layer = -1;
  const std::string_view digits = node.substr(0, node.find('.'));
  if (!digits.starts_with('L')) return -1;
  const auto [end, error] = std::from_chars(digits.data() + 1, digits.data() + digits.size(), layer);
  return error == std::errc{} && end == digits.data() + digits.size() ? layer : -1;
}

std::vector<ExplainRow> explain(const Plan& plan, const Step& step) {
  std::vector<ExplainRow> rows;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const auto* launch = std::get_if<Launch>(&plan.steps[i]);
    rows.push_back(launch != nullptr ? explain_launch(plan, *launch, step)
                                     : explain_transfer(plan, std::get<Transfer>(plan.steps[i])));
    const Join* join = join_of(plan, i);
    if (join != nullptr && join->first != i) rows.back().joined = std::get<Launch>(plan.steps[join->first]).node;
  }
  return rows;
}

}  // namespace v4rt
