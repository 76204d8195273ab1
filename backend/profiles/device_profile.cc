#include "backend/profiles/device_profile.h"

#include <algorithm>

#include "backend/stand_in.h"
#include "ops/core/human.h"

namespace v4rt {
namespace {

Support type_allowed(const TensorType& type, std::span<const DType> types, std::string_view what) {
  if (types.empty() || std::ranges::find(types, type.dtype) != types.end()) return {};
  return Support::no(fmt::format("{} is {}, which it has no arithmetic for", what, to_string(type)));
}

// A matrix [N, K], or a stack of them.
bool is_matrix(const Input& input) { return input.role == Role::kMatrix || input.role == Role::kExperts; }

Support tensor_allowed(const DeviceProfile& profile, const DeviceProfile::Rule& rule, const TensorType& type,
                       bool matrix, std::string_view what) {
  if (type.shape.rank() > profile.max_rank)
    return Support::no(
        fmt::format("{} has {} dimensions, and it takes at most {}", what, type.shape.rank(), profile.max_rank));
  if (profile.max_allocation > 0 && std::max(type.bytes(), type.scale_bytes()) > profile.max_allocation)
    return Support::no(fmt::format("{} takes {}, and one buffer may have {}", what, human_bytes(type.bytes()),
                                   human_bytes(profile.max_allocation)));
  if (matrix && (type.shape[-1] % rule.multiple != 0 || type.shape[-2] % rule.multiple != 0))
    return Support::no(
        fmt::format("{} is {}, and its matrices are multiples of {}", what, to_string(type.shape), rule.multiple));
  return type_allowed(type, rule.types.empty() ? profile.types : rule.types, what);
}

const DeviceProfile::Rule& rule_of(const DeviceProfile& profile, OpKind kind) {
  static const DeviceProfile::Rule kNone;
  const auto found = std::ranges::find_if(
      profile.rules, [&](const auto& rule) { return std::ranges::find(rule.ops, kind) != rule.ops.end(); });
  return found == profile.rules.end() ? kNone : *found;
}

size_t token_bytes(const TensorType& type) { return type.bytes() / static_cast<size_t>(type.shape[0]); }

std::string as(std::string_view profile) { return fmt::format(", as {}", profile); }  // ends a description

class ProfiledDevice final : public Device, public StandIn {
 public:
  ProfiledDevice(std::shared_ptr<Device> inner, DeviceProfile profile)
      : inner_(std::move(inner)), profile_(std::move(profile)), info_(inner_->info()) {
    const auto limit = [](size_t& value, size_t most) {
      value = most == 0 || (value > 0 && value < most) ? value : most;
    };
    info_.name += "+" + profile_.name;
    info_.description += as(profile_.name);
    limit(info_.max_allocation, profile_.max_allocation);
    limit(info_.memory, profile_.memory);
  }

  Device& behind() const override { return *inner_; }
  const DeviceInfo& info() const override { return info_; }
  Support supports(const OpCall& call) const override {
    Support allowed = allows(profile_, call);
    return allowed ? inner_->supports(call) : allowed;
  }
  std::unique_ptr<Kernel> make(const OpCall& call, int kernel) override { return inner_->make(call, kernel); }
  Layout weight_layout(const TensorType& weight) const override { return inner_->weight_layout(weight); }
  BufferPtr allocate(size_t bytes) override {
    check(info_.max_allocation == 0 || bytes <= info_.max_allocation, Code::kOutOfMemory,
          "{}: {} bytes asked, one buffer may have {}", info_.name, bytes, info_.max_allocation);
    return inner_->allocate(bytes);
  }
  BufferPtr import_host(std::span<const std::byte> memory) override {
    return info_.max_allocation > 0 && memory.size() > info_.max_allocation ? nullptr : inner_->import_host(memory);
  }
  std::unique_ptr<Queue> create_queue() override { return inner_->create_queue(); }
  void finish_kernels(const std::function<void(double done)>& progress) override { inner_->finish_kernels(progress); }
  std::vector<DeviceProgram> programs() override { return inner_->programs(); }
  DeviceSpeed measure_speed() override { return inner_->measure_speed(); }

 private:
  std::shared_ptr<Device> inner_;
  DeviceProfile profile_;
  DeviceInfo info_;
};

}  // namespace

Support allows(const DeviceProfile& profile, const OpCall& call) {
  if (call.op.kind() == OpKind::kRepack) return {};  // done once, by whoever prepares the weights
  const DeviceProfile::Rule& rule = rule_of(profile, call.op.kind());
  if (!rule.refused.empty()) return Support::no(rule.refused);
  size_t row = 0;
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    const Input input = call.op.input(i);
    if (Support allowed =
            tensor_allowed(profile, rule, call.inputs[i], is_matrix(input), fmt::format("its input {}", i));
        !allowed)
      return allowed;
    if (input.role == Role::kActivation) row += token_bytes(call.inputs[i]);
  }
  for (size_t i = 0; i < call.outputs.size(); ++i) {
    if (Support allowed = tensor_allowed(profile, rule, call.outputs[i], false, fmt::format("its output {}", i));
        !allowed)
      return allowed;
    if (std::ranges::none_of(call.op.aliases(), [&](const Alias& a) { return a.output == static_cast<int>(i); }))
      row += token_bytes(call.outputs[i]);
  }
  if (profile.row_bytes > 0 && row > profile.row_bytes)
    return Support::no(fmt::format("it works on {} for one token, and the device's buffer holds {}", human_bytes(row),
                                   human_bytes(profile.row_bytes)));
  return {};
}

std::shared_ptr<Device> create_profiled_device(std::shared_ptr<Device> inner, DeviceProfile profile) {
  return std::make_shared<ProfiledDevice>(std::move(inner), std::move(profile));
}

DeviceInfo without_profile(DeviceInfo info) {
  const size_t plus = info.name.rfind('+');
  if (plus == std::string::npos) return info;
  info.description.resize(info.description.size() - as(info.name.substr(plus + 1)).size());
  info.name.resize(plus);
  return info;
}

}  // namespace v4rt
