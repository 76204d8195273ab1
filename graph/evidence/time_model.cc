#include "graph/evidence/time_model.h"

#include <algorithm>
#include <optional>

namespace v4rt {
namespace {

constexpr double kGiga = 1e9;

// The type of the weights that a launch multiplies with.
std::optional<DType> product_weight(const Plan& plan, const Launch& launch) {
  for (int i = 0; i < launch.n_inputs; ++i) {
    const Role role = launch.op->input(static_cast<size_t>(i)).role;
    const auto slot = static_cast<size_t>(launch.args[static_cast<size_t>(i)]);
    if (role == Role::kMatrix || role == Role::kExperts) return plan.slots[slot].type.dtype;
  }
  return std::nullopt;
}

// What a launch can count on: 1e9 bytes and 1e9 FLOP a second.
ProductSpeed speed_of(const Plan& plan, const Launch& launch, const DeviceFigures& f) {
  const ProductSpeed limits{f.speed.read_gbs, f.speed.f32_gflops};
  const auto weight = product_weight(plan, launch);
  if (!weight || *weight == DType::kF32) return limits;
  const ProductSpeed& measured = *weight == DType::kFp4 ? f.fp4 : *weight == DType::kFp8 ? f.fp8 : f.bf16;
  return {measured.gbs > 0 ? measured.gbs : limits.gbs,
          measured.gflops > 0 ? measured.gflops : f.speed.best_bf16_gflops()};
}

// `begins`: it is a launch of its own, or the first of those that are one.
PredictedTime of_launch(const Plan& plan, const Launch& launch, const ExplainRow& row, const DeviceFigures& f,
                        bool begins) {
  const ProductSpeed speed = speed_of(plan, launch, f);
  const double memory = (row.weight_bytes + row.state_bytes + row.io_bytes) / (speed.gbs * kGiga),
               compute = row.flops / (speed.gflops * kGiga), begin = begins ? 1e-6 * f.launch_us : 0;
  const double longest = std::max({memory, compute, begin});
  return {begin + std::max(memory, compute), longest == begin ? "launch" : longest == memory ? "memory" : "compute"};
}

// "linear fp8"
std::string label_of(const Plan& plan, size_t step) {
  const auto& launch = std::get<Launch>(plan.steps[step]);
  const std::string_view text = name(launch.op->kind());
  for (int i = 0; i < launch.n_inputs; ++i) {
    const Slot& slot = plan.slots[static_cast<size_t>(launch.args[static_cast<size_t>(i)])];
    const bool matrix =
        slot.storage == Storage::kWeight && slot.type.shape.rank() >= 2 && slot.type.dtype != DType::kI32;
    if (matrix) return fmt::format("{} {}", text, info(slot.type.dtype).name);
  }
  return std::string(text);
}

}  // namespace

std::vector<PredictedTime> predict(const Plan& plan, std::span<const ExplainRow> rows,
                                   std::span<const DeviceFigures> figures) {
  const auto of_slot = [&](SlotId id) -> const DeviceFigures& {
    return figures[static_cast<size_t>(plan.slots[static_cast<size_t>(id)].device)];
  };
  // A speed that nobody knows, as of copies of a device that is described, costs nothing.
  const auto copy = [](double bytes, double gbs) { return gbs > 0 ? bytes / (gbs * kGiga) : 0; };
  std::vector<PredictedTime> times;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    if (const auto* launch = std::get_if<Launch>(&plan.steps[i])) {
      const Join* join = join_of(plan, i);
      times.push_back(of_launch(plan, *launch, rows[i], figures[static_cast<size_t>(launch->device)],
                                join == nullptr || join->first == i));
    } else {
      const auto& [from, to] = std::get<Transfer>(plan.steps[i]);
      times.push_back(
          {copy(rows[i].io_bytes, of_slot(from).download_gbs) + copy(rows[i].io_bytes, of_slot(to).upload_gbs),
           "transfer"});
    }
  }
  return times;
}

std::string cost_label(const Plan& plan, size_t step) {
  if (!std::holds_alternative<Launch>(plan.steps[step])) return "transfer";
  const Join* join = join_of(plan, step);
  if (join == nullptr) return label_of(plan, step);
  std::string labels;
  for (size_t i = join->first; i < join->first + join->count; ++i)
    labels += fmt::format("{}{}", labels.empty() ? "" : " + ", label_of(plan, i));
  return labels;
}

}  // namespace v4rt
