#include "graph/plan/expert_prefetch.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace v4rt {
namespace {

// The last step before `user` that writes the slot.
std::optional<size_t> writer_of(const Plan& plan, SlotId slot, size_t user) {
  for (size_t i = user; i-- > 0;) {
    if (const auto* launch = std::get_if<Launch>(&plan.steps[i])) {
      const auto outputs = std::span(launch->args).subspan(static_cast<size_t>(launch->n_inputs));
      if (std::find(outputs.begin(), outputs.end(), slot) != outputs.end()) return i;
    } else if (std::get<Transfer>(plan.steps[i]).to == slot) {
      return i;
    }
  }
  return std::nullopt;
}

// The table and ids of a step that only looks rows up.
struct Lookup {
  SlotId table, ids;
};

std::optional<Lookup> lookup_of(const Plan& plan, size_t step) {
  const auto* launch = std::get_if<Launch>(&plan.steps[step]);
  for (size_t i = 0; launch != nullptr && i < static_cast<size_t>(launch->n_inputs); ++i) {
    const Input input = launch->op->input(i);
    const SlotId table = launch->args[i];
    if (input.role != Role::kTable || plan.slots[static_cast<size_t>(table)].type.dtype != DType::kI32) continue;
    return Lookup{table, launch->args[static_cast<size_t>(input.ids)]};
  }
  return std::nullopt;
}

const std::byte* host(const BufferPtr& buffer) { return buffer == nullptr ? nullptr : buffer->host(); }

void read_ahead(std::span<const std::byte> bytes) {
  static const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const size_t before = reinterpret_cast<uintptr_t>(bytes.data()) % page;  // of the same page
  auto* begin = const_cast<std::byte*>(bytes.data()) - before;
  (void)::madvise(begin, before + bytes.size(), MADV_WILLNEED);  // a hint: failure does not matter
}

}  // namespace

ExpertPrefetch::ExpertPrefetch(const Plan& plan, std::span<const Tensor> tensors,
                               std::span<const std::unique_ptr<Queue>> queues,
                               const std::function<Residence(const Slot&)>& residence, Ask ask)
    : ask_(ask ? std::move(ask) : Ask(read_ahead)), layer_after_(plan.steps.size(), -1) {
  if (!residence) return;
  for (size_t i = 0; i < plan.steps.size(); ++i) add(plan, i, tensors, queues, residence);
}

// The experts in files that step `user` of the plan reads.
void ExpertPrefetch::add(const Plan& plan, size_t user, std::span<const Tensor> tensors,
                         std::span<const std::unique_ptr<Queue>> queues,
                         const std::function<Residence(const Slot&)>& residence) {
  const auto* launch = std::get_if<Launch>(&plan.steps[user]);
  if (launch == nullptr) return;
  for (size_t i = 0; i < static_cast<size_t>(launch->n_inputs); ++i) {
    const Input input = launch->op->input(i);
    const auto id = static_cast<size_t>(launch->args[i]);
    const Slot& slot = plan.slots[id];
    if (input.role != Role::kExperts || slot.storage != Storage::kWeight) continue;
    const Residence where = residence(slot);
    if (where == Residence::kMemory || host(tensors[id].values) == nullptr) continue;
    Layer* of = layer(plan, user, launch->args[static_cast<size_t>(input.ids)], tensors, queues);
    if (of == nullptr) return;
    const auto first = static_cast<size_t>(slot.range.first), experts = static_cast<size_t>(slot.type.shape[0]);
    of->once = where == Residence::kFile;
    of->wanted.resize(std::max(of->wanted.size(), first + experts));
    of->asked.resize(of->wanted.size());
    const auto plane = [&](const BufferPtr& buffer, size_t bytes) {
      if (bytes > 0) of->planes.push_back({host(buffer), bytes / experts, first, first + experts});
    };
    plane(tensors[id].values, slot.type.bytes());
    plane(tensors[id].scales, slot.type.scale_bytes());
  }
}

// The ids that `user` reads; null if the host cannot read them.
ExpertPrefetch::Layer* ExpertPrefetch::layer(const Plan& plan, size_t user, SlotId ids, std::span<const Tensor> tensors,
                                             std::span<const std::unique_ptr<Queue>> queues) {
  const auto writer = writer_of(plan, ids, user);
  const Tensor& tensor = tensors[static_cast<size_t>(ids)];
  if (!writer || host(tensor.values) == nullptr) return nullptr;
  const auto known = std::find_if(layers_.begin(), layers_.end(), [&](const Layer& l) { return l.ids_slot == ids; });
  if (known != layers_.end()) return &*known;

  const auto device = static_cast<size_t>(plan.slots[static_cast<size_t>(ids)].device);
  Layer made{.ids_slot = ids,
             .queue = queues[device].get(),
             .ids = tensor.data<const int32_t>(),
             .k = tensor.type.shape[1],
             .once = false,
             .planes = {},
             .wanted = {},
             .asked = {}};
  if (const auto lookup = lookup_of(plan, *writer)) {
    const auto table = static_cast<size_t>(lookup->table), tokens = static_cast<size_t>(lookup->ids);
    const bool written_before = plan.slots[tokens].storage == Storage::kIo && !writer_of(plan, lookup->ids, *writer);
    if (written_before && host(tensors[table].values) != nullptr && host(tensors[tokens].values) != nullptr) {
      made.ids = tensors[table].data<const int32_t>();
      made.tokens = tensors[tokens].data<const int32_t>();
    }
  }
  if (made.tokens == nullptr) layer_after_[*writer] = static_cast<int32_t>(layers_.size());
  layers_.push_back(std::move(made));
  return &layers_.back();
}

void ExpertPrefetch::before(const Step& step) {
  for (Layer& layer : layers_) {
    if (layer.tokens != nullptr) ask_chosen(layer, step);
  }
}

// One request for each run of neighbouring experts.
void ExpertPrefetch::ask_chosen(Layer& layer, const Step& step) {
  layer.queue->finish();
  std::fill(layer.wanted.begin(), layer.wanted.end(), uint8_t{0});
  bool any = false;
  for (int64_t row = 0; row < step.n_rows(); ++row) {
    const int32_t* ids = layer.ids + (layer.tokens == nullptr ? row : int64_t{layer.tokens[row]}) * layer.k;
    for (int64_t i = 0; i < layer.k; ++i) {
      const auto expert = static_cast<size_t>(ids[i]);
      if (ids[i] < 0 || expert >= layer.wanted.size()) continue;  // on another device
      if (layer.once && std::exchange(layer.asked[expert], uint8_t{1}) != 0) continue;
      layer.wanted[expert] = 1;
      any = true;
    }
  }
  if (!any) return;
  for (const Plane& plane : layer.planes) {
    const auto begin_of = layer.wanted.begin() + static_cast<ptrdiff_t>(plane.begin);
    const auto end_of = layer.wanted.begin() + static_cast<ptrdiff_t>(plane.end);
    for (auto end = begin_of; end != end_of;) {
      const auto begin = std::find(end, end_of, uint8_t{1});
      end = std::find(begin, end_of, uint8_t{0});
      const auto first = static_cast<size_t>(begin - begin_of), n = static_cast<size_t>(end - begin);
      if (n > 0) ask_({plane.data + first * plane.expert_bytes, n * plane.expert_bytes});
    }
  }
}

}  // namespace v4rt
