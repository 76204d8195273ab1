#include "graph/passes/offer.h"

#include "ops/core/human.h"
#include "ops/layout/repack.h"

namespace v4rt {
namespace {

bool can_repack(const Device& device, const TensorType& from, const TensorType& to) {
  const Repack repack(to.layout);
  return static_cast<bool>(device.supports({repack, {&from, 1}, {&to, 1}}));
}

// The inputs, with each weight matrix in the layout the device wants, if it can make that.
std::vector<TensorType> wanted(const Device& device, const DeviceRequest& request) {
  std::vector<TensorType> types = request.inputs;
  for (size_t i = 0; i < types.size(); ++i) {
    const Role role = request.op->input(i).role;
    if (!request.constant[i] || (role != Role::kMatrix && role != Role::kExperts)) continue;
    TensorType to = types[i];
    to.layout = device.weight_layout(types[i]);
    if (to.layout != types[i].layout && can_repack(device, types[i], to)) types[i] = to;
  }
  return types;
}

Support weights_fit(const Device& device, const DeviceRequest& request, const std::vector<TensorType>& inputs) {
  const size_t most = device.info().max_allocation;
  for (size_t i = 0; most > 0 && i < inputs.size(); ++i) {
    if (!request.constant[i] || inputs[i].bytes() <= most) continue;
    return Support::no(fmt::format("its weight {} takes {}, and one buffer may have {}", to_string(inputs[i]),
                                   human_bytes(static_cast<double>(inputs[i].bytes())),
                                   human_bytes(static_cast<double>(most))));
  }
  return {};
}

Support supports(const Device& device, const DeviceRequest& request, const std::vector<TensorType>& inputs) {
  Support fits = weights_fit(device, request, inputs);
  return fits ? device.supports({*request.op, inputs, request.outputs}) : fits;
}

}  // namespace

DeviceRequest request_of(const Graph& graph, const Node& node) {
  DeviceRequest request{.op = node.op};
  for (const ValueId id : node.in) {
    request.inputs.push_back(graph.value(id).type);
    request.constant.push_back(graph.value(id).origin == Origin::kWeight);
  }
  for (const ValueId id : node.out) request.outputs.push_back(graph.value(id).type);
  return request;
}

Offer ask(const Device& device, const DeviceRequest& request) {
  std::vector<TensorType> preferred = wanted(device, request);
  if (preferred != request.inputs) {
    if (Support support = supports(device, request, preferred)) return {std::move(support), std::move(preferred)};
  }
  return {supports(device, request, request.inputs), request.inputs};
}

}  // namespace v4rt
