#include "backend/opencl/library/panel.h"

#include "backend/opencl/kernels.h"

namespace v4rt {
namespace {

int64_t bits_of(DType weight) { return 8 * info(weight).block_bytes / info(weight).block; }

}  // namespace

std::vector<std::string> panel_options(DType act, DType out, DType weight) {
  return {define("ACT", act), define("OUT", out), define("WEIGHT", weight), define("WEIGHT_BITS", bits_of(weight))};
}

PanelWidener::PanelWidener(OpenclDevice& device, DType act, DType out, const TensorType& weight)
    : function_(device.function("panel.cl", panel_options(act, out, weight.dtype), "widen_panel")),
      rows_(weight.shape[-2]),
      k_(weight.shape[-1]),
      words_(ceil_div(k_, 32 / bits_of(weight.dtype))) {}

void PanelWidener::operator()(OpenclQueue& queue, const Tensor& weight, const PanelGroups& groups,
                              const BufferPtr& panel, int64_t at) const {
  constexpr int64_t kWords = 64;  // PANEL_WORDS
  (*function_)(queue, {tiles(words_, kWords), static_cast<size_t>(groups.groups)}, weight.values, scales_of(weight),
               panel, static_cast<uint32_t>(at), narrow(groups.matrix), narrow(groups.first), narrow(rows_),
               narrow(k_));
}

Support panel_fits(const OpenclDevice& device, int64_t floats) {
  const auto bytes = static_cast<size_t>(4 * floats), most = device.info().max_allocation;
  if (floats > UINT32_MAX) return Support::no("it needs more than 2^32 numbers beside the weights");
  if (most > 0 && bytes > most)
    return Support::no(fmt::format("it needs {} bytes beside the weights, one buffer may have {}", bytes, most));
  return {};
}

}  // namespace v4rt
