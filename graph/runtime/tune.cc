#include "graph/runtime/tune.h"

#include <map>

#include "graph/runtime/model_impl.h"

namespace v4rt {
namespace {

struct LaunchShape {
  int device;
  const Op* op;
  std::vector<TensorType> inputs, outputs;
};

// The launches of a model's plans, one of each shape: by op, types and device.
std::map<std::string, LaunchShape> shapes_of(const Model::Impl& impl) {
  std::map<std::string, LaunchShape> shapes;
  for (const auto& [key, plan] : impl.plans) {
    for (const PlanStep& step : plan->steps) {
      const auto* launch = std::get_if<Launch>(&step);
      if (launch == nullptr) continue;
      LaunchShape shape{launch->device, launch->op.get(), {}, {}};
      std::string text = fmt::format("{} {}", launch->device, launch->op->describe());
      for (size_t i = 0; i < static_cast<size_t>(launch->n_inputs); ++i) {
        shape.inputs.push_back(plan->slots[static_cast<size_t>(launch->args[i])].type);
        text += " " + to_string(shape.inputs.back());
      }
      shape.outputs = launch->op->infer(shape.inputs);
      shapes.emplace(std::move(text), std::move(shape));
    }
  }
  return shapes;
}

}  // namespace

std::vector<TunedShape> tune(std::shared_ptr<const WeightSource> weights, ModelOptions options,
                             const std::function<void(std::string_view shape, double done)>& progress) {
  options.device_options.fast =
      Fast::kNever;  // placement does not depend on it, and the number of shapes is then known
  Model::Impl model(std::move(weights), options);
  model.make_first_plans();
  const std::map<std::string, LaunchShape> shapes = shapes_of(model);

  size_t done = 0;
  options.device_options.fast = Fast::kAuto;
  options.device_options.measure_again = true;
  options.device_options.measuring = [&](std::string_view what) {
    progress(what, static_cast<double>(done) / static_cast<double>(shapes.size()));
  };
  std::vector<std::shared_ptr<Device>> devices;
  for (const auto& device : model.devices)
    devices.push_back(create_device(device->info().name, options.device_options));
  std::vector<TunedShape> tuned;
  for (const auto& [text, shape] : shapes) {
    const Device& device = *devices[static_cast<size_t>(shape.device)];
    const Support support = device.supports({*shape.op, shape.inputs, shape.outputs});
    if (!support.reason.empty()) tuned.push_back({device.info().name, support.reason});
    ++done;
  }
  return tuned;
}

}  // namespace v4rt
