#include "tests/conformance/runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include "backend/reference/reference_device.h"
#include "ops/core/exact_math.h"
#include "ops/layout/repack.h"

namespace v4rt {
namespace {

constexpr std::byte kPoison{0xff};  // NaN as F32 and BF16, -1 as I32
constexpr std::byte kGuard{0xa5};

using Random = std::mt19937_64;

float draw(const Fill& fill, Random& random) {
  if (fill.kind == Fill::Kind::kTies) return 0.25f * static_cast<float>(random() % 4);
  if (fill.kind == Fill::Kind::kWild) {
    if (random() % 16 == 0) return 0.0f;
    const float sign = random() % 2 == 0 ? 1.0f : -1.0f;
    return sign * std::ldexp(1.0f + static_cast<float>(random() % 1000) / 1000.0f, static_cast<int>(random() % 41) - 20);
  }
  return fill.scale * std::normal_distribution<float>()(random);
}

std::vector<int32_t> distinct(const Fill& fill, size_t n, Random& random) {
  std::vector<int32_t> all(static_cast<size_t>(fill.high - fill.low));
  std::iota(all.begin(), all.end(), fill.low);
  std::shuffle(all.begin(), all.end(), random);
  all.resize(n);
  return all;
}

int32_t n_tokens(const Case& c) {
  int32_t n = 0;
  for (const Segment& s : c.segments) n += s.n_tokens;
  return n;
}

void fill_ids(const Case& c, const Fill& fill, const TensorType& type, int32_t* out, Random& random) {
  const int64_t width = type.shape.rank() == 1 ? 1 : type.shape[-1], rows = type.shape.elements() / width;
  const int64_t live = fill.kind == Fill::Kind::kTable ? rows : std::min<int64_t>(rows, n_tokens(c));
  for (int64_t r = 0; r < live; ++r) {
    int32_t* row = out + r * width;
    if (fill.kind == Fill::Kind::kIds) {
      for (int64_t i = 0; i < width; ++i) row[i] = fill.low + static_cast<int32_t>(random() % static_cast<uint64_t>(fill.high - fill.low));
      continue;
    }
    const auto n = fill.kind == Fill::Kind::kTable ? width : std::min<int64_t>(fill.live, width);
    std::vector<int32_t> ids = distinct(fill, static_cast<size_t>(n), random);
    if (fill.kind == Fill::Kind::kSortedIds) std::sort(ids.begin(), ids.end());
    std::copy(ids.begin(), ids.end(), row);
  }
}

void fill_rows_bytes(const Fill& fill, std::span<std::byte> bytes, Random& random) {
  const auto width = static_cast<size_t>(fill.format.bytes());
  std::vector<float> values(static_cast<size_t>(fill.format.dim));
  for (size_t at = 0; at + width <= bytes.size(); at += width) {
    for (float& v : values) v = fill.scale * std::normal_distribution<float>()(random);
    encode_row(fill.format, values, reinterpret_cast<uint8_t*>(bytes.data() + at));
  }
}

// Activations have a leading token dimension whose dead rows stay poisoned; weights are whole.
void fill_numbers(const Case& c, const Fill& fill, const TensorType& type, bool activation, std::span<std::byte> bytes, Random& random) {
  int64_t live = type.shape.elements();
  if (activation && type.shape[0] > 0) {
    live = live / type.shape[0] * std::min<int64_t>(type.shape[0], n_tokens(c));
  }
  for (int64_t i = 0; i < live; ++i) {
    const float v = draw(fill, random);
    if (type.dtype == DType::kF32) {
      std::memcpy(bytes.data() + i * 4, &v, 4);
    } else if (type.dtype == DType::kBF16) {
      const auto upper = static_cast<uint16_t>(em_bits(em_bf16(v)) >> 16);
      std::memcpy(bytes.data() + i * 2, &upper, 2);
    } else {  // F16: any finite bits
      const auto half = static_cast<uint16_t>((random() & 0x83ffu) | ((random() % 24 + 1) << 10));
      std::memcpy(bytes.data() + i * 2, &half, 2);
    }
  }
}

void fill_codes(DType dtype, std::span<std::byte> values, std::span<std::byte> scales, Random& random) {
  for (std::byte& b : values) {
    b = static_cast<std::byte>(random());
    if (dtype == DType::kFp8 && (b & std::byte{0x7f}) == std::byte{0x7f}) b = std::byte{0};
  }
  for (std::byte& s : scales) s = static_cast<std::byte>(118 + random() % 8);
}

// Which inputs carry a token dimension: everything that is not a weight, a state or a table.
bool is_token_input(const Case& c, size_t i) {
  const int64_t capacity = c.inputs[0].shape[0];
  const OpKind kind = c.op->kind();
  if (kind == OpKind::kRepack) return false;
  if (i == 0) return true;
  switch (kind) {
    case OpKind::kAddStreams: return true;
    case OpKind::kHcPost: return true;
    case OpKind::kIndexSelect: return i == 1;
    case OpKind::kAttend: return i == 4;
    case OpKind::kRouteHash: return i == 2;
    case OpKind::kMoeGateUp: return i <= 2;
    case OpKind::kMoeDown: return i == 1 || i == 3;
    default: return c.inputs[i].dtype == DType::kI32 && c.inputs[i].shape[0] == capacity;
  }
}

struct Guarded {
  BufferPtr whole, part;
  size_t guard = 0, bytes = 0;
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

std::vector<std::byte> take(Queue& queue, const Guarded& g, const std::string& what) {
  std::vector<std::byte> all(g.whole->bytes());
  queue.download(all, *g.whole, 0);
  const auto intact = [](auto begin, auto end) { return std::all_of(begin, end, [](std::byte b) { return b == kGuard; }); };
  const auto first = all.begin() + static_cast<ptrdiff_t>(g.guard), last = first + static_cast<ptrdiff_t>(g.bytes);
  EXPECT_TRUE(intact(all.begin(), first)) << what << ": bytes before the buffer were overwritten";
  EXPECT_TRUE(intact(last, all.end())) << what << ": bytes after the buffer were overwritten";
  return {first, last};
}

// Inputs as the device wants them: weights of products in its layout.
bool is_product_weight(const Case& c, size_t i) {
  switch (c.op->kind()) {
    case OpKind::kLinear: return i == 1;
    case OpKind::kMoeGateUp: return i == 3 || i == 4;
    case OpKind::kMoeDown: return i == 2;
    default: return false;
  }
}

struct HostTensor {
  TensorType type;
  std::vector<std::byte> values, scales;
};

HostTensor repacked(const HostTensor& from, Layout layout) {
  const Repack repack(layout);
  HostTensor to{repack.infer(std::span(&from.type, 1))[0], {}, {}};
  to.values.resize(to.type.bytes());
  to.scales.resize(to.type.scale_bytes());
  const auto device = create_reference_device();
  const auto tensor = [&](const HostTensor& h) { return Tensor{h.type, device->import_host(h.values), device->import_host(h.scales)}; };
  const TensorType types[] = {from.type};
  const TensorType outs[] = {to.type};
  const auto kernel = device->compile({repack, types, outs});
  const Tensor args[] = {tensor(from), tensor(to)};
  device->create_queue()->launch(*kernel, args, Step{});
  return to;
}

}  // namespace

CaseData make_data(const Case& c) {
  Random random(c.seed);
  CaseData data;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const TensorType& type = c.inputs[i];
    const Fill& fill = c.fill(i);
    std::vector<std::byte> values(type.bytes(), kPoison), scales(type.scale_bytes(), kPoison);
    if (fill.kind == Fill::Kind::kRows) {
      fill_rows_bytes(fill, values, random);
    } else if (type.dtype == DType::kI32) {
      fill_ids(c, fill, type, reinterpret_cast<int32_t*>(values.data()), random);
    } else if (is_quantised(type.dtype)) {
      fill_codes(type.dtype, values, scales, random);
    } else {
      fill_numbers(c, fill, type, is_token_input(c, i), values, random);
    }
    data.values.push_back(std::move(values));
    data.scales.push_back(std::move(scales));
  }
  return data;
}

std::vector<std::vector<std::byte>> run_case(Device& device, const Case& c, const CaseData& data) {
  const auto queue = device.create_queue();
  std::vector<Guarded> buffers;
  std::vector<TensorType> types;
  std::vector<Tensor> args;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    HostTensor host{c.inputs[i], data.values[i], data.scales[i]};
    if (is_product_weight(c, i) && device.weight_layout(host.type) != host.type.layout) {
      host = repacked(host, device.weight_layout(host.type));
    }
    types.push_back(host.type);
    buffers.push_back(guarded(device, *queue, host.values));
    Tensor tensor{host.type, buffers.back().part, nullptr};
    if (!host.scales.empty()) {
      buffers.push_back(guarded(device, *queue, host.scales));
      tensor.scales = buffers.back().part;
    }
    args.push_back(tensor);
  }

  const std::vector<TensorType> outputs = c.op->infer(types);
  const OpCall call{*c.op, types, outputs};
  const Support support = device.supports(call);
  EXPECT_TRUE(support) << device.info().name << " refuses: " << support.reason;
  if (!support) return {};
  const auto kernel = device.compile(call);

  std::vector<std::vector<Guarded>> out_buffers(outputs.size());
  for (size_t o = 0; o < outputs.size(); ++o) {
    Tensor tensor{outputs[o], nullptr, nullptr};
    for (const Alias& alias : c.op->aliases()) {
      if (alias.output == static_cast<int>(o)) tensor = args[static_cast<size_t>(alias.input)];
    }
    if (tensor.values == nullptr) {
      out_buffers[o].push_back(guarded(device, *queue, std::vector<std::byte>(outputs[o].bytes(), kPoison)));
      tensor.values = out_buffers[o][0].part;
      if (is_quantised(outputs[o].dtype)) {
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
  if (kernel->scratch_bytes > 0) {
    const TensorType type{DType::kU8, Shape{static_cast<int64_t>(kernel->scratch_bytes)}};
    buffers.push_back(guarded(device, *queue, std::vector<std::byte>(kernel->scratch_bytes, kPoison)));
    args.push_back({type, buffers.back().part, nullptr});
  }

  std::vector<Row> rows(static_cast<size_t>(n_tokens(c)));
  fill_rows(c.segments, rows);
  const Step step{c.segments, rows};
  queue->begin(step);
  queue->launch(*kernel, args, step);
  queue->finish();

  for (const Guarded& g : buffers) take(*queue, g, "input");
  std::vector<std::vector<std::byte>> result;
  for (const auto& output : out_buffers) {
    for (const Guarded& g : output) result.push_back(take(*queue, g, "output"));
  }
  return result;
}

}  // namespace v4rt
