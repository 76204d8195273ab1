#include "backend/conformance/runner.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "backend/conformance/chain.h"
#include "backend/state_memory.h"

namespace v4rt {
namespace {

constexpr std::byte kGuard{0xa5};

struct Guarded {
  BufferPtr whole, part;
  size_t guard = 0, bytes = 0;
  size_t slots = 0;  // 0: not in extents
};

Guarded guarded(Device& device, Queue& queue, std::span<const std::byte> content) {
  Guarded g{nullptr, nullptr, std::max<size_t>(device.info().alignment, 256), content.size()};
  const size_t tail = g.guard + (g.guard - content.size() % g.guard) % g.guard;
  g.whole = device.allocate(g.guard + content.size() + tail);
  queue.fill(*g.whole, kGuard);
  g.part = g.whole->slice(g.guard, std::max<size_t>(content.size(), 1));
  if (!content.empty()) queue.upload(*g.part, 0, content);
  return g;
}

// In extents that follow each other in another order than the tensor's.
Guarded held_in_extents(Device& device, Queue& queue, const TensorType& type, std::span<const std::byte> content) {
  const TensorType held = in_extents(type);
  const auto allocate = [&](size_t bytes) { return device.allocate(bytes); };
  const StateHolder::Extents extents = dynamic_cast<StateHolder&>(device).make_extents(
      {.type = held, .first = 1, .allocate = allocate, .queue = &queue});
  const size_t extent = held.bytes() / (extent_table_bytes(held) / sizeof(int32_t));
  for (size_t end = held.bytes(); end > 0; end -= extent) extents.state->own(end - extent, end);
  Guarded g{extents.values, extents.values, 0, content.size(), static_cast<size_t>(type.shape[0])};
  const size_t slot = content.size() / g.slots;
  for (size_t s = 0; s < g.slots; ++s)
    queue.upload(*g.whole, s * (held.bytes() / g.slots), content.subspan(s * slot, slot));
  return g;
}

std::vector<std::byte> take(Queue& queue, const Guarded& g, std::string_view what, std::vector<std::string>& damage) {
  std::vector<std::byte> all(g.whole->bytes());
  queue.download(all, *g.whole, 0);
  if (g.slots > 0) {
    const size_t slot = g.bytes / g.slots;
    for (size_t s = 0; s < g.slots; ++s) std::memmove(&all[s * slot], &all[s * (all.size() / g.slots)], slot);
    all.resize(g.bytes);
    return all;
  }
  const auto intact = [](auto begin, auto end) {
    return std::all_of(begin, end, [](std::byte b) { return b == kGuard; });
  };
  const auto first = all.begin() + static_cast<ptrdiff_t>(g.guard), last = first + static_cast<ptrdiff_t>(g.bytes);
  if (!intact(all.begin(), first)) damage.push_back(fmt::format("{}: bytes before the buffer were overwritten", what));
  if (!intact(last, all.end())) damage.push_back(fmt::format("{}: bytes after the buffer were overwritten", what));
  return {first, last};
}

struct Prepared {
  std::unique_ptr<Kernel> kernel;
  std::vector<Tensor> args;
};

// What does the call: its kernel, or those of a chain that the device has none for.
std::vector<Prepared> launches_of(Device& device, const OpCall& call, const std::vector<Tensor>& args) {
  std::vector<Prepared> launches;
  const auto* chain = dynamic_cast<const Chain*>(&call.op);
  if (chain == nullptr || device.supports(call)) {
    launches.push_back({device.compile(call), args});
    return launches;
  }
  for (const Chain::Member& member : chain->members(call.inputs))
    launches.push_back({device.compile(member.call()), member.tensors(args)});
  return launches;
}

// The same by one launch, if the device can.
std::vector<Prepared> joined(JoiningDevice& device, std::span<const Chain::Member> members,
                             std::vector<Prepared> launches) {
  std::vector<JoinedCall> calls;
  for (const Chain::Member& member : members) calls.push_back(member.joined());
  if (!device.joins(calls)) return launches;
  std::vector<Prepared> one;
  one.push_back({device.join(calls), {}});
  for (const Prepared& each : launches) one[0].args.insert(one[0].args.end(), each.args.begin(), each.args.end());
  return one;
}

}  // namespace

std::vector<Result> run_case(Device& device, const Case& c, const CaseData& data, bool held,
                             std::vector<std::string>& damage) {
  const auto queue = device.create_queue();
  std::vector<Guarded> buffers;
  std::vector<TensorType> types;
  std::vector<Tensor> args;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const HostTensor host = input_for(device, c, data, i);
    types.push_back(host.type);
    const Input role = c.op->input(i);
    const bool extents = held && role.role == Role::kState && !role.rows.ring() && !host.values.empty() &&
                         state_memory(device) == StateMemory::kExtents;
    buffers.push_back(extents ? held_in_extents(device, *queue, host.type, host.values)
                              : guarded(device, *queue, host.values));
    Tensor tensor{extents ? in_extents(host.type) : host.type, buffers.back().part, nullptr};
    if (!host.scales.empty()) {
      buffers.push_back(guarded(device, *queue, host.scales));
      tensor.scales = buffers.back().part;
    }
    args.push_back(tensor);
  }

  const std::vector<TensorType> outputs = c.op->infer(types);

  std::vector<std::vector<Guarded>> out_buffers(outputs.size());
  for (size_t o = 0; o < outputs.size(); ++o) {
    Tensor tensor{outputs[o], nullptr, nullptr};
    for (const Alias& alias : c.op->aliases()) {
      if (alias.output == static_cast<int>(o)) tensor = args[static_cast<size_t>(alias.input)];
    }
    if (tensor.values == nullptr) {
      out_buffers[o].push_back(guarded(device, *queue, std::vector<std::byte>(outputs[o].bytes(), kPoison)));
      tensor.values = out_buffers[o][0].part;
      if (has_scale_plane(outputs[o].dtype)) {
        out_buffers[o].push_back(guarded(device, *queue, std::vector<std::byte>(outputs[o].scale_bytes(), kPoison)));
        tensor.scales = out_buffers[o][1].part;
      }
    } else {
      for (const Guarded& g : buffers) {
        if (g.part == tensor.values) out_buffers[o].push_back(g);
      }
    }
    args.push_back(tensor);
  }
  std::vector<Prepared> launches = launches_of(device, {*c.op, types, outputs}, args);
  for (auto& [kernel, own] : launches) {
    if (kernel->scratch_bytes == 0) continue;
    const TensorType type{DType::kU8, Shape{static_cast<int64_t>(kernel->scratch_bytes)}};
    buffers.push_back(guarded(device, *queue, std::vector<std::byte>(kernel->scratch_bytes, kPoison)));
    own.push_back({type, buffers.back().part, nullptr});
  }
  if (const auto* chain = dynamic_cast<const Chain*>(c.op.get()); chain != nullptr && joining(device) != nullptr)
    launches = joined(*joining(device), chain->members(types), std::move(launches));

  std::vector<Row> rows(static_cast<size_t>(n_tokens(c)));
  fill_rows(c.segments, rows);
  const Step step{c.segments, rows};
  queue->begin(step);
  for (const auto& [kernel, own] : launches) queue->launch(*kernel, own, step);
  queue->finish();

  for (const Guarded& g : buffers) take(*queue, g, "input", damage);
  std::vector<Result> results;
  for (size_t o = 0; o < outputs.size(); ++o) {
    for (const Guarded& g : out_buffers[o]) {
      const bool scales = &g != out_buffers[o].data();
      results.push_back({scales ? DType::kU8 : outputs[o].dtype, take(*queue, g, "output", damage)});
    }
  }
  return results;
}

Result without_payloads(Result result) {
  const auto replace = [&]<class Bits>(Bits infinity) {
    constexpr Bits kMagnitude = std::numeric_limits<Bits>::max() / 2;
    for (size_t at = 0; at < result.bytes.size(); at += sizeof(Bits)) {
      Bits bits = 0;
      std::memcpy(&bits, result.bytes.data() + at, sizeof(Bits));
      const Bits nan = infinity + 1;
      if ((bits & kMagnitude) > infinity) std::memcpy(result.bytes.data() + at, &nan, sizeof(Bits));
    }
  };
  if (result.dtype == DType::kF32) replace(uint32_t{0x7f800000});
  if (result.dtype == DType::kBF16) replace(uint16_t{0x7f80});
  if (result.dtype == DType::kF16) replace(uint16_t{0x7c00});
  return result;
}

}  // namespace v4rt
