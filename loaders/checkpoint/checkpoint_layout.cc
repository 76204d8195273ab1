#include "loaders/checkpoint/checkpoint_layout.h"

#include <algorithm>

#include "ops/core/arith.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

constexpr int64_t kMaxWidened = int64_t{1} << 28;  // bytes that one weight may grow to in memory of its own

// [.., n, k] -> [.., ceil(n / rows), ceil(k / cols)].
Shape scale_shape(const Shape& values, int rows, int cols) {
  std::vector<int64_t> dims(values.dims().begin(), values.dims().end());
  dims[dims.size() - 1] = ceil_div(dims[dims.size() - 1], cols);
  dims[dims.size() - 2] = ceil_div(dims[dims.size() - 2], rows);
  return Shape(dims);
}

// FP4 values are packed two to a byte. The shape counts bytes if the tensor has a byte type, and values if it is F4.
Shape shape_in_file(const Shape& shape, StoredType type) {
  if (type != StoredType::kI8 && type != StoredType::kU8) return shape;
  std::vector<int64_t> dims(shape.dims().begin(), shape.dims().end());
  dims.back() = ceil_div(dims.back(), 2);
  return Shape(dims);
}

bool allowed(WeightRole role, StoredType type) {
  switch (type) {
    case StoredType::kF32:
    case StoredType::kBF16:
    case StoredType::kF16: return role != WeightRole::kTable;
    case StoredType::kF8E4M3:
    case StoredType::kI8:
    case StoredType::kU8:
    case StoredType::kF4: return role == WeightRole::kMatrix;
    case StoredType::kI64:
    case StoredType::kI32: return role == WeightRole::kTable;
    default: return false;
  }
}

std::string_view allowed_types(WeightRole role) {
  if (role == WeightRole::kMatrix) return "F8_E4M3, packed FP4 (I8, U8, F4), BF16, F16 or F32";
  return role == WeightRole::kTable ? "I64 or I32" : "F32, BF16 or F16";
}

// Builds the layout of one weight.
class Planner {
 public:
  Planner(const WeightInfo& info, const OfficialTensors& tensors, const SafetensorsSet& set,
          std::vector<std::string>& missing, std::vector<std::string>& used)
      : tensors_(tensors), set_(set), missing_(missing), used_(used) {
    layout_.info = info;
  }

  WeightLayout plan() {
    const size_t missing_before = missing_.size();
    if (!from_fused_experts()) from_parts();
    if (missing_.size() == missing_before) decide_type();
    return std::move(layout_);
  }

 private:
  const WeightInfo& info() const { return layout_.info; }

  // Experts of a layer in one tensor [E, count * N, K]: one piece per expert, or one for all where nothing is fused.
  bool from_fused_experts() {
    if (info().assembly != Assembly::kExperts) return false;
    const FusedExperts fused = fused_experts(info());
    const auto found = tensors_.find(fused.name);
    if (found == tensors_.end() || found->second.values == nullptr) return false;
    const int64_t experts = info().shape[0], rows = info().shape[1];
    Piece whole = checked_piece(fused.name, found->second, {experts, rows * fused.count, info().shape[2]});
    if (fused.count == 1) {
      layout_.pieces.push_back(whole);
      return true;
    }
    for (int64_t e = 0; e < experts; ++e) {
      whole.first_row = (e * fused.count + fused.first) * rows;
      whole.rows = rows;
      layout_.pieces.push_back(whole);
    }
    return true;
  }

  void from_parts() {
    for (const std::string& name : official_parts(info())) {
      const auto found = tensors_.find(name);
      if (found == tensors_.end() || found->second.values == nullptr) {
        missing_.push_back(name);
      } else {
        layout_.pieces.push_back(checked_piece(name, found->second, part_shape()));
      }
    }
  }

  Shape part_shape() const {
    const Shape& s = info().shape;
    if (info().assembly == Assembly::kPair) return {s[0] / 2, s[1]};
    if (info().assembly == Assembly::kExperts) return {s[1], s[2]};
    return s;
  }

  Piece checked_piece(const std::string& official, const StoredWeight& stored, const Shape& shape) {
    used_.push_back(official);
    const StoredTensor& t = *stored.values;
    check(allowed(info().role, t.type), Code::kUnsupported,
          "{}: dtype {}; expected {}, as released; fetch the release's tensor, or convert this one", set_.describe(t),
          spelling(t.type), allowed_types(info().role));
    const Shape expected = shape_in_file(shape, t.type);
    check(t.shape == expected, Code::kCorrupt,
          "{}: shape {} {}, expected {} from config.json; the two do not belong together", set_.describe(t),
          spelling(t.type), to_string(t.shape), to_string(expected));
    const bool odd_f4 = t.type == StoredType::kF4 && shape[-1] % 2 != 0;
    check(!odd_f4, Code::kUnsupported, "{}: F4 rows of {} elements do not fill whole bytes", set_.describe(t),
          shape[-1]);
    const DType dtype = value_dtype(t.type);
    check_scales(stored, dtype, shape);
    return {stored, dtype, 0, stored_rows(t)};
  }

  void check_scales(const StoredWeight& stored, DType dtype, const Shape& shape) const {
    const StoredTensor& t = *stored.values;
    if (!has_scale_plane(dtype)) {
      check(stored.scales == nullptr, Code::kCorrupt,
            "{}: is {} but has scales ('{}'): whether they are already applied cannot be told", set_.describe(t),
            spelling(t.type), stored.scales == nullptr ? std::string() : stored.scales->name);
      return;
    }
    check(stored.scales != nullptr, Code::kCorrupt,
          "{}: is {} but has no scale tensor; fetch the missing tensor or file", set_.describe(t), spelling(t.type));
    const StoredTensor& s = *stored.scales;
    const DTypeInfo& grid = v4rt::info(dtype);
    const Shape expected = scale_shape(shape, grid.scale_rows, grid.scale_cols);
    const bool later = dtype == DType::kFp8 && s.shape != expected && s.shape == scale_shape(shape, 32, 32);
    check(!later, Code::kUnsupported,
          "{}: shape {}: FP8 blocks of 32 x 32 belong to DeepSeek-V4.1, which is not supported; V4 has 128 x 128",
          set_.describe(s), to_string(s.shape));
    check(s.shape == expected, Code::kCorrupt, "{}: shape {}, expected {}: one scale per {} x {} elements of {}",
          set_.describe(s), to_string(s.shape), to_string(expected), grid.scale_rows, grid.scale_cols,
          to_string(shape));
    const bool readable = s.type == StoredType::kF8E8M0 || s.type == StoredType::kU8 || s.type == StoredType::kF32 ||
                          s.type == StoredType::kBF16;
    check(readable, Code::kUnsupported, "{}: dtype {}; scales are F8_E8M0 (or U8), F32 or BF16", set_.describe(s),
          spelling(s.type));
  }

  // FP8 scales cover 128 rows: a piece can be served as it lies only if no block of the file or of the weight crosses
  // its ends.
  bool blocks_fit(const Piece& piece) const {
    if (piece.dtype != DType::kFp8) return true;
    const int64_t block = v4rt::info(DType::kFp8).scale_rows;
    const int64_t there = piece.stored.values->shape[-2], here = info().shape[-2];
    const auto whole_blocks = [&](int64_t matrix) {
      const int64_t begin = piece.first_row % matrix;
      return begin % block == 0 && (piece.rows % block == 0 || (begin + piece.rows) % matrix == 0);
    };
    if (piece.rows % there != 0 && !whole_blocks(there)) return false;
    return piece.rows % here == 0 || piece.rows % block == 0;
  }

  void decide_type() {
    const std::vector<Piece>& pieces = layout_.pieces;
    DType dtype = pieces.front().dtype;
    const bool uniform =
        std::all_of(pieces.begin(), pieces.end(), [&](const Piece& p) { return p.dtype == dtype && blocks_fit(p); });
    const WeightRole role = info().role;
    const bool reads_f16 = role == WeightRole::kMatrix;
    if (role == WeightRole::kF32 || (dtype == DType::kF16 && !reads_f16) || !uniform) dtype = DType::kF32;
    if (role == WeightRole::kTable) dtype = DType::kI32;
    layout_.type = {dtype, info().shape};
    layout_.convert = !uniform || dtype != pieces.front().dtype || info().role == WeightRole::kTable;
    const auto bytes = static_cast<int64_t>(layout_.type.bytes());
    check(uniform || bytes <= kMaxWidened, Code::kUnsupported,
          "{}: its tensors ({} and others) differ in dtype or in how their scale blocks lie, and as F32 it would take "
          "{} MiB; store them alike",
          info().name, set_.describe(*pieces.front().stored.values), bytes >> 20);
  }

  const OfficialTensors& tensors_;
  const SafetensorsSet& set_;
  std::vector<std::string>& missing_;
  std::vector<std::string>& used_;
  WeightLayout layout_;
};

}  // namespace

int64_t columns(const Shape& shape) { return shape.rank() == 0 ? 1 : shape[-1]; }
int64_t stored_rows(const StoredTensor& t) { return t.shape.rows(); }

DType value_dtype(StoredType type) {
  switch (type) {
    case StoredType::kF32: return DType::kF32;
    case StoredType::kBF16: return DType::kBF16;
    case StoredType::kF16: return DType::kF16;
    case StoredType::kF8E4M3: return DType::kFp8;
    case StoredType::kI8:
    case StoredType::kU8:
    case StoredType::kF4: return DType::kFp4;
    case StoredType::kI64:
    case StoredType::kI32: return DType::kI32;
    default: fail(Code::kUnsupported, "{} values cannot be used as a weight", spelling(type));
  }
}

WeightLayout lay_out(const WeightInfo& info, const OfficialTensors& tensors, const SafetensorsSet& set,
                     std::vector<std::string>& missing, std::vector<std::string>& used) {
  return Planner(info, tensors, set, missing, used).plan();
}

}  // namespace v4rt
