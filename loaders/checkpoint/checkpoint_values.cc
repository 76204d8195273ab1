#include "loaders/checkpoint/checkpoint_values.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>

#include "ops/core/arith.h"
#include "ops/core/dequant.h"
#include "ops/core/error.h"
#include "ops/core/exact_math.h"

namespace v4rt {
namespace {

template <class T>
T load(std::span<const std::byte> bytes, int64_t index) {
  T value;
  std::memcpy(&value, bytes.data() + static_cast<size_t>(index) * sizeof(T), sizeof(T));
  return value;
}

// First element for which `bad` holds. Whole blocks are tested without a branch per element, so that a scan runs at
// memory speed.
template <class T, class Bad>
std::optional<int64_t> find_element(std::span<const std::byte> bytes, Bad bad) {
  constexpr int64_t kBlock = 4096 / sizeof(T);
  const auto count = static_cast<int64_t>(bytes.size() / sizeof(T));
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, count);
    T any = 0;
    for (int64_t i = begin; i < end; ++i) any = static_cast<T>(any | static_cast<T>(bad(load<T>(bytes, i))));
    if (any == 0) continue;
    for (int64_t i = begin; i < end; ++i) {
      if (bad(load<T>(bytes, i))) return i;
    }
  }
  return std::nullopt;
}

// First element of a number type that is NaN or an infinity: its exponent bits are all set. FP4 has neither.
std::optional<int64_t> find_not_finite(std::span<const std::byte> bytes, DType dtype) {
  switch (dtype) {
    case DType::kF32: return find_element<uint32_t>(bytes, [](uint32_t v) { return (v & 0x7f800000u) == 0x7f800000u; });
    case DType::kBF16: return find_element<uint16_t>(bytes, [](uint16_t v) { return (v & 0x7f80) == 0x7f80; });
    case DType::kF16: return find_element<uint16_t>(bytes, [](uint16_t v) { return (v & 0x7c00) == 0x7c00; });
    case DType::kFp8: return find_element<uint8_t>(bytes, [](uint8_t v) { return (v & 0x7f) == 0x7f; });
    default: return std::nullopt;
  }
}

// Row and column of an element in the file.
std::string place(const StoredTensor& t, int64_t index) {
  const int64_t width = columns(t.shape);
  return fmt::format("row {}, column {}", index / width, index % width);
}

// The E8M0 byte of a scale stored as a number; empty unless it is a power of two from 2^-127 to 2^127.
std::optional<uint8_t> power_of_two(float scale) {
  const uint32_t bits = em_bits(scale);
  if (bits == 0x00400000u) return uint8_t{0};  // 2^-127 is subnormal
  const uint32_t exponent = bits >> 23;        // the sign bit included: negative numbers exceed 254
  if ((bits & 0x7fffffu) != 0 || exponent < 1 || exponent > 254) return std::nullopt;
  return static_cast<uint8_t>(exponent);
}

bool bytes_already(StoredType type) { return type == StoredType::kF8E8M0 || type == StoredType::kU8; }

float scale_number(const StoredTensor& scales, int64_t index) {
  if (scales.type == StoredType::kF32) return load<float>(scales.bytes, index);
  return em_float(static_cast<uint32_t>(load<uint16_t>(scales.bytes, index)) << 16);  // BF16
}

struct Range {
  int64_t first, count;
};

// The elements of the scale plane that belong to the piece.
Range scale_range(const Piece& piece) {
  const StoredTensor& values = *piece.stored.values;
  const int64_t n = values.shape[-2], block = info(piece.dtype).scale_rows, per_matrix = ceil_div(n, block);
  const int64_t width = columns(piece.stored.scales->shape);
  const int64_t first = piece.first_row / n * per_matrix + piece.first_row % n / block;
  const int64_t rows = piece.rows % n == 0 ? piece.rows / n * per_matrix : ceil_div(piece.rows, block);
  return {first * width, rows * width};
}

void check_scales(const StoredTensor& s, const SafetensorsSet& set) {
  if (bytes_already(s.type)) {
    const auto bad = find_element<uint8_t>(s.bytes, [](uint8_t b) { return b == 255; });
    check(!bad, Code::kCorrupt, "{}: {} holds the E8M0 NaN 255; the file is damaged, fetch it again", set.describe(s),
          bad ? place(s, *bad) : std::string());
    return;
  }
  for (int64_t i = 0; i < s.shape.elements(); ++i) {
    const float scale = scale_number(s, i);
    if (!power_of_two(scale)) {
      fail(Code::kCorrupt, "{}: {} is {}; scales must be powers of two from 2^-127 to 2^127", set.describe(s),
           place(s, i), scale);
    }
  }
}

void check_numbers(const Piece& piece, const SafetensorsSet& set) {
  const StoredTensor& t = *piece.stored.values;
  const auto bad = find_not_finite(value_bytes(piece), piece.dtype);
  check(!bad, Code::kCorrupt, "{}: {} holds a NaN or an infinity; the file is damaged, fetch it again", set.describe(t),
        bad ? place(t, piece.first_row * columns(t.shape) + *bad) : std::string());
}

int64_t expert_id(const StoredTensor& t, int64_t index) {
  return t.type == StoredType::kI64 ? load<int64_t>(t.bytes, index) : load<int32_t>(t.bytes, index);
}

// Reads every id once, so that the id that was checked is the id that is kept, whatever happens to the file.
void copy_table(const StoredTensor& t, int64_t experts, const SafetensorsSet& set, std::span<int32_t> out) {
  const auto k = static_cast<size_t>(columns(t.shape));
  std::vector<int32_t> ids(k);
  for (size_t row = 0; row < out.size() / k; ++row) {
    for (size_t i = 0; i < k; ++i) {
      const int64_t id = expert_id(t, static_cast<int64_t>(row * k + i));
      if (id < 0 || id >= experts)
        fail(Code::kCorrupt, "{}: row {} names expert {}; there are {}", set.describe(t), row, id, experts);
      ids[i] = out[row * k + i] = static_cast<int32_t>(id);
    }
    std::sort(ids.begin(), ids.end());
    const auto twice = std::adjacent_find(ids.begin(), ids.end());
    if (twice != ids.end()) fail(Code::kCorrupt, "{}: row {} names expert {} twice", set.describe(t), row, *twice);
  }
}

// Makes bytes of a file, or our own, look like the buffer that dequantise() reads.
class BytesView final : public Buffer {
 public:
  explicit BytesView(std::span<const std::byte> bytes) : bytes_(bytes) {}
  size_t bytes() const override { return bytes_.size(); }
  std::byte* host() const override { return const_cast<std::byte*>(bytes_.data()); }
  BufferPtr slice(size_t offset, size_t bytes) override {
    return std::make_shared<BytesView>(bytes_.subspan(offset, bytes));
  }

 private:
  std::span<const std::byte> bytes_;
};

void widen_piece(const Piece& piece, int64_t width, std::span<float> out) {
  const StoredTensor& t = *piece.stored.values;
  // The logical shape of the stored tensor: packed FP4 shows half the columns.
  std::vector<int64_t> dims(t.shape.dims().begin(), t.shape.dims().end());
  if (!dims.empty()) dims.back() = width;
  Tensor tensor{{piece.dtype, Shape(dims)}, std::make_shared<BytesView>(t.bytes), nullptr};
  std::vector<OwnedBytes> owned;
  if (has_scale_plane(piece.dtype)) {
    const Piece all{piece.stored, piece.dtype, 0, stored_rows(t)};
    tensor.scales = std::make_shared<BytesView>(scale_bytes(all, owned));
  }
  dequantise(tensor, piece.first_row * width, out);
}

}  // namespace

OwnedBytes::OwnedBytes(size_t bytes) : size_(bytes) {
  constexpr size_t kAlignment = 64;
  memory_.reset(
      static_cast<std::byte*>(std::aligned_alloc(kAlignment, (bytes + kAlignment) / kAlignment * kAlignment)));
  if (memory_ == nullptr) throw std::bad_alloc();
}

void OwnedBytes::Free::operator()(std::byte* memory) const { std::free(memory); }

void check_stored_values(const WeightLayout& weight, const SafetensorsSet& set) {
  for (const Piece& piece : weight.pieces) {
    check_numbers(piece, set);
    // Pieces of one tensor share its plane, which is checked once.
    if (piece.stored.scales != nullptr && (piece.first_row == 0 || &piece == &weight.pieces.front()))
      check_scales(*piece.stored.scales, set);
  }
}

std::span<const std::byte> value_bytes(const Piece& piece) {
  const StoredTensor& t = *piece.stored.values;
  const auto row = t.bytes.size() / static_cast<size_t>(stored_rows(t));
  return t.bytes.subspan(static_cast<size_t>(piece.first_row) * row, static_cast<size_t>(piece.rows) * row);
}

std::span<const std::byte> scale_bytes(const Piece& piece, std::vector<OwnedBytes>& owned) {
  const StoredTensor& scales = *piece.stored.scales;
  const Range range = scale_range(piece);
  if (bytes_already(scales.type))
    return scales.bytes.subspan(static_cast<size_t>(range.first), static_cast<size_t>(range.count));
  const auto bytes = owned.emplace_back(static_cast<size_t>(range.count)).bytes();
  for (int64_t i = 0; i < range.count; ++i) {
    bytes[static_cast<size_t>(i)] = std::byte{power_of_two(scale_number(scales, range.first + i)).value_or(0)};
  }
  return bytes;
}

void convert(const WeightLayout& weight, int64_t experts, const SafetensorsSet& set, std::span<std::byte> out) {
  if (weight.info.role == WeightRole::kTable) {
    const std::span ids(reinterpret_cast<int32_t*>(out.data()), out.size() / sizeof(int32_t));
    return copy_table(*weight.pieces.front().stored.values, experts, set, ids);
  }
  const int64_t width = columns(weight.info.shape);
  std::span<float> floats(reinterpret_cast<float*>(out.data()), out.size() / sizeof(float));
  for (const Piece& piece : weight.pieces) {
    const auto count = static_cast<size_t>(piece.rows * width);
    widen_piece(piece, width, floats.first(count));
    floats = floats.subspan(count);
  }
}

}  // namespace v4rt
