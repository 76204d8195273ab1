#include "backend/conformance/case_data.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>

#include "backend/reference/reference_device.h"
#include "ops/core/exact_math.h"
#include "ops/layout/repack.h"

namespace v4rt {
namespace {

using Random = std::mt19937_64;

float draw(const Fill& fill, Random& random) {
  if (fill.kind == Fill::Kind::kTies) return 0.25f * static_cast<float>(random() % 4);
  if (fill.kind == Fill::Kind::kWild) {
    if (random() % 16 == 0) return 0.0f;
    const float sign = random() % 2 == 0 ? 1.0f : -1.0f;
    return sign *
           std::ldexp(1.0f + static_cast<float>(random() % 1000) / 1000.0f, static_cast<int>(random() % 41) - 20);
  }
  const float v = fill.scale * std::normal_distribution<float>()(random);
  if (fill.kind == Fill::Kind::kFp4) return em_round_e2m1(em_clamp(v, 6.0f));
  if (fill.kind == Fill::Kind::kFp8) return em_round_e4m3(em_clamp(v, 448.0f));
  return v;
}

std::vector<int32_t> distinct(const Fill& fill, size_t n, Random& random) {
  std::vector<int32_t> all(static_cast<size_t>(fill.high - fill.low));
  std::iota(all.begin(), all.end(), fill.low);
  std::shuffle(all.begin(), all.end(), random);
  all.resize(n);
  return all;
}

void fill_ids(const Case& c, const Fill& fill, const TensorType& type, int32_t* out, Random& random) {
  const int64_t width = type.shape.rank() == 1 ? 1 : type.shape[-1], rows = type.shape.elements() / width;
  const int64_t live = fill.kind == Fill::Kind::kTable ? rows : std::min<int64_t>(rows, n_tokens(c));
  for (int64_t r = 0; r < live; ++r) {
    int32_t* row = out + r * width;
    if (fill.kind == Fill::Kind::kIds) {
      for (int64_t i = 0; i < width; ++i)
        row[i] = fill.low + static_cast<int32_t>(random() % static_cast<uint64_t>(fill.high - fill.low));
      continue;
    }
    const auto n = fill.kind == Fill::Kind::kTable ? width : std::min<int64_t>(fill.live, width);
    std::vector<int32_t> ids = distinct(fill, static_cast<size_t>(n), random);
    if (fill.kind == Fill::Kind::kSortedIds) std::sort(ids.begin(), ids.end());
    std::copy(ids.begin(), ids.end(), row);
  }
}

// Row `r` of `rows` of an input that holds unusual numbers.
void make_unusual(const Unusual& unusual, int64_t r, int64_t rows, std::span<float> row, Random& random) {
  if (rows > 1 && r % 2 == 0) return;
  float& one = row[random() % row.size()];
  const float sign = random() % 2 == 0 ? 1.0f : -1.0f;
  if (unusual.kind == Unusual::Kind::kNan) one = sign * std::numeric_limits<float>::quiet_NaN();
  if (unusual.kind == Unusual::Kind::kInfinity) one = sign * std::numeric_limits<float>::infinity();
  if (unusual.kind != Unusual::Kind::kSubnormal) return;
  const bool whole = rows > 1 && r % 4 == 1 && !unusual.scaled;
  for (size_t i = 0; i < row.size(); ++i) {
    float& v = row[i];
    if (whole || (i % 16 != 0 && random() % 2 == 0)) v = em_float((em_bits(v) & 0x807f0000u) | (random() & 0xffffu));
  }
}

// Whether row `r` of a state [slots, rows, ...] may be read while the case runs.
bool is_live(const Case& c, const StateRows& state, int64_t slot, int64_t r, int64_t rows) {
  for (const Segment& s : c.segments) {
    if (s.slot != slot) continue;
    if (!state.ring()) return r < (s.position + s.n_tokens) / state.positions;
    for (int64_t p = state.first(s.position); p < s.position + s.n_tokens; ++p)
      if (p % rows == r) return true;
  }
  return false;
}

// Rows that nobody has written stay poisoned.
void fill_rows_bytes(const Case& c, size_t input, const Unusual* unusual, std::span<std::byte> bytes, Random& random) {
  const Fill& fill = c.fill(input);
  const StateRows state = c.op->input(input).rows;
  const int64_t rows = c.inputs[input].shape[1], all = c.inputs[input].shape[0] * rows;
  const auto width = bytes.size() / static_cast<size_t>(all);
  std::vector<float> values(static_cast<size_t>(fill.format.dim));
  for (int64_t r = 0; r < all; ++r) {
    for (float& v : values) v = fill.scale * std::normal_distribution<float>()(random);
    if (unusual != nullptr) make_unusual(*unusual, r, all, values, random);
    if (!is_live(c, state, r / rows, r % rows, rows)) continue;
    encode_row(fill.format, values, reinterpret_cast<uint8_t*>(bytes.data()) + static_cast<size_t>(r) * width);
  }
}

// A number's bits as F16: any finite ones for a finite number.
uint16_t f16_bits(float v, Random& random) {
  const auto sign = static_cast<uint16_t>((em_bits(v) >> 16) & 0x8000u);
  if (std::isnan(v)) return 0x7e00;
  if (std::isinf(v)) return sign | 0x7c00;
  const uint64_t exponent = v != 0 && std::fpclassify(v) == FP_SUBNORMAL ? 0 : random() % 24 + 1;
  return static_cast<uint16_t>(sign | (exponent << 10) | (random() & 0x3ffu));
}

void put(DType dtype, float v, std::byte* to, Random& random) {
  if (dtype == DType::kF32) {
    std::memcpy(to, &v, 4);
    return;
  }
  const auto bits = dtype == DType::kBF16 ? static_cast<uint16_t>(em_bits(em_bf16(v)) >> 16) : f16_bits(v, random);
  std::memcpy(to, &bits, 2);
}

// Activations have a leading token dimension whose dead rows stay poisoned; weights are whole.
void fill_numbers(const Case& c, const Fill& fill, const TensorType& type, bool activation, const Unusual* unusual,
                  std::span<std::byte> bytes, Random& random) {
  const int64_t width = type.shape[-1], all = type.shape.elements() / width;
  const int64_t live = activation ? all / type.shape[0] * std::min<int64_t>(type.shape[0], n_tokens(c)) : all;
  std::vector<float> row(static_cast<size_t>(width));
  const auto size = static_cast<size_t>(info(type.dtype).row_bytes(1));
  for (int64_t r = 0; r < live; ++r) {
    for (float& v : row) v = draw(fill, random);
    if (unusual != nullptr) make_unusual(*unusual, r, live, row, random);
    for (float v : row) {
      put(type.dtype, v, bytes.data(), random);
      bytes = bytes.subspan(size);
    }
  }
}

// Backends decode FP8 faster where no code has exponent 0, as nearly everywhere in checkpoints: three of four stretches
// of 64 columns have none.
void fill_codes(const TensorType& type, std::span<std::byte> values, std::span<std::byte> scales, Random& random) {
  const auto width = static_cast<size_t>(type.shape[-1]);
  for (size_t i = 0; i < values.size(); ++i) {
    std::byte& b = values[i] = static_cast<std::byte>(random());
    if (type.dtype != DType::kFp8) continue;
    if ((b & std::byte{0x7f}) == std::byte{0x7f}) b = std::byte{0};
    if (i % width / 64 % 4 != 0 && (b & std::byte{0x78}) == std::byte{0}) b |= std::byte{0x40};
  }
  for (std::byte& s : scales) s = static_cast<std::byte>(118 + random() % 8);
}

bool is_token_input(const Case& c, size_t i) { return c.op->input(i).role == Role::kActivation; }

// Weights of products have the layout that the device wants, except those to be repacked.
bool is_product_weight(const Case& c, size_t i) {
  const Role role = c.op->input(i).role;
  return c.op->kind() != OpKind::kRepack && (role == Role::kMatrix || role == Role::kExperts);
}

HostTensor repacked(const HostTensor& from, Layout layout) {
  const Repack repack(layout);
  HostTensor to{repack.infer(std::span(&from.type, 1))[0], {}, {}};
  to.values.resize(to.type.bytes());
  to.scales.resize(to.type.scale_bytes());
  const auto device = create_reference_device();
  const auto tensor = [&](const HostTensor& h) {
    return Tensor{h.type, device->import_host(h.values), device->import_host(h.scales)};
  };
  const TensorType types[] = {from.type};
  const TensorType outs[] = {to.type};
  const auto kernel = device->compile({repack, types, outs});
  const Tensor args[] = {tensor(from), tensor(to)};
  device->create_queue()->launch(*kernel, args, Step{});
  return to;
}

}  // namespace

int32_t n_tokens(const Case& c) {
  int32_t n = 0;
  for (const Segment& s : c.segments) n += s.n_tokens;
  return n;
}

std::string Unusual::describe() const {
  constexpr const char* kNames[] = {"NaN", "infinity", "subnormal numbers"};
  return fmt::format("{} in input {}", kNames[static_cast<size_t>(kind)], input);
}

std::vector<Unusual> unusual_data(const Case& c) {
  const bool scaled =
      std::any_of(c.inputs.begin(), c.inputs.end(), [](const TensorType& type) { return has_scale_plane(type.dtype); });
  std::vector<Unusual> list;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const DType dtype = c.inputs[i].dtype;
    const bool numbers = dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16;
    if (!numbers && c.fill(i).kind != Fill::Kind::kRows) continue;
    for (auto kind : {Unusual::Kind::kNan, Unusual::Kind::kInfinity, Unusual::Kind::kSubnormal}) {
      list.push_back({kind, i, scaled});
    }
  }
  return list;
}

CaseData make_data(const Case& c, const std::optional<Unusual>& unusual) {
  Random random(c.seed);
  CaseData data;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const TensorType& type = c.inputs[i];
    const Fill& fill = c.fill(i);
    std::vector<std::byte> values(type.bytes(), kPoison), scales(type.scale_bytes(), kPoison);
    const Unusual* here = unusual && unusual->input == i ? &*unusual : nullptr;
    if (fill.kind == Fill::Kind::kRows) {
      fill_rows_bytes(c, i, here, values, random);
    } else if (type.dtype == DType::kI32) {
      fill_ids(c, fill, type, reinterpret_cast<int32_t*>(values.data()), random);
    } else if (has_scale_plane(type.dtype)) {
      fill_codes(type, values, scales, random);
    } else {
      fill_numbers(c, fill, type, is_token_input(c, i), here, values, random);
    }
    data.values.push_back(std::move(values));
    data.scales.push_back(std::move(scales));
  }
  return data;
}

TensorType input_type(const Device& device, const Case& c, size_t i) {
  TensorType type = c.inputs[i];
  if (is_product_weight(c, i)) type.layout = device.weight_layout(type);
  return type;
}

HostTensor input_for(const Device& device, const Case& c, const CaseData& data, size_t i) {
  HostTensor host{c.inputs[i], data.values[i], data.scales[i]};
  const Layout wanted = input_type(device, c, i).layout;
  return wanted == host.type.layout ? host : repacked(host, wanted);
}

}  // namespace v4rt
