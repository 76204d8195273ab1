#include "graph/runtime/weight_copy.h"

#include <numeric>

namespace v4rt {
namespace {

constexpr int64_t kGroupRows = 16;  // Layout::kRows16

size_t total(const std::vector<std::span<const std::byte>>& parts) {
  return std::accumulate(parts.begin(), parts.end(), size_t{0},
                         [](size_t sum, const auto& part) { return sum + part.size(); });
}

// The matrices of a stack [E, N, K].
std::vector<WeightPiece> matrices(const WeightView& view) {
  const TensorType one{view.type.dtype, Shape{view.type.shape[1], view.type.shape[2]}, view.type.layout};
  const size_t bytes = one.bytes(), scale_bytes = one.scale_bytes();
  std::vector<WeightPiece> pieces;
  for (size_t p = 0; p < view.parts.size(); ++p) {
    const size_t n = bytes == 0 ? 0 : view.parts[p].size() / bytes;
    const bool fits =
        n * bytes == view.parts[p].size() && (scale_bytes == 0 || view.scale_parts[p].size() == n * scale_bytes);
    if (!fits) return {};
    for (size_t i = 0; i < n; ++i) {
      const auto scales =
          scale_bytes == 0 ? std::span<const std::byte>{} : view.scale_parts[p].subspan(i * scale_bytes, scale_bytes);
      pieces.push_back({one, view.parts[p].subspan(i * bytes, bytes), scales});
    }
  }
  return pieces;
}

// The parts of a matrix [N, K], each some of its rows.
std::vector<WeightPiece> row_ranges(const WeightView& view) {
  const int64_t n = view.type.shape[0], k = view.type.shape[1];
  std::vector<WeightPiece> pieces;
  for (size_t p = 0; p < view.parts.size(); ++p) {
    const size_t row_bytes = view.type.bytes() / static_cast<size_t>(n);
    const auto rows = static_cast<int64_t>(view.parts[p].size() / row_bytes);
    const TensorType type{view.type.dtype, Shape{rows, k}, view.type.layout};
    const auto scales = view.scale_parts.empty() ? std::span<const std::byte>{} : view.scale_parts[p];
    const bool whole_groups = rows % kGroupRows == 0 || p + 1 == view.parts.size();
    if (!whole_groups || type.bytes() != view.parts[p].size() || type.scale_bytes() != scales.size()) return {};
    pieces.push_back({type, view.parts[p], scales});
  }
  return pieces;
}

void upload(Queue& queue, const BufferPtr& to, const std::vector<std::span<const std::byte>>& parts) {
  size_t at = 0;
  for (const auto& part : parts) {
    queue.upload(*to, at, part);
    at += part.size();
  }
}

std::vector<std::byte> join(const std::vector<std::span<const std::byte>>& parts) {
  std::vector<std::byte> all;
  all.reserve(total(parts));
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// `buffer` with at least `bytes`.
void grow(BufferPtr& buffer, size_t bytes, Device& device) {
  if (bytes > 0 && (buffer == nullptr || buffer->bytes() < bytes)) buffer = device.allocate(bytes);
}

}  // namespace

std::vector<WeightPiece> repack_pieces(const WeightView& view) {
  if (view.type.shape.elements() == 0) return {};
  if (view.type.scale_bytes() > 0 && view.scale_parts.size() != view.parts.size()) return {};
  if (view.type.shape.rank() == 3) return matrices(view);
  return view.type.shape.rank() == 2 ? row_ranges(view) : std::vector<WeightPiece>{};
}

Tensor WeightCopier::copy(const WeightView& view, const TensorType& type, const OpPtr& repack) {
  Tensor whole{.type = type, .values = device_.allocate(type.bytes()), .scales = nullptr};
  if (type.scale_bytes() > 0) whole.scales = device_.allocate(type.scale_bytes());
  if (repack == nullptr) {
    upload(*queue_, whole.values, view.parts);
    if (whole.scales != nullptr) upload(*queue_, whole.scales, view.scale_parts);
    queue_->finish();
    return whole;
  }
  std::vector<WeightPiece> pieces = repack_pieces(view);
  std::vector<std::byte> values, scales;  // only for parts that must be joined
  if (pieces.empty()) {
    values = join(view.parts);
    scales = join(view.scale_parts);
    pieces.push_back({view.type, values, scales});
  }
  size_t at = 0, scale_at = 0;
  for (const WeightPiece& piece : pieces) {
    TensorType made = piece.type;
    made.layout = type.layout;
    repack_piece(piece, made, repack, whole, at, scale_at);
    at += made.bytes();
    scale_at += made.scale_bytes();
  }
  return whole;
}

// Repacks one piece to bytes [at, ...) of the whole: in place where the device can address it, otherwise by way of the
// host.
void WeightCopier::repack_piece(const WeightPiece& piece, const TensorType& type, const OpPtr& repack,
                                const Tensor& whole, size_t at, size_t scale_at) {
  static constexpr Segment kSegment{.slot = 0, .position = 0, .n_tokens = 1};
  static constexpr Row kRow{.slot = 0, .position = 0, .first = 0, .end = 1};
  const Step step{{&kSegment, 1}, {&kRow, 1}};
  const Kernel& run = kernel(repack, piece.type, type);
  std::vector<Tensor> args{source(piece), target(type, whole, at, scale_at)};
  if (run.scratch_bytes > 0) {
    grow(scratch_, run.scratch_bytes, device_);
    args.push_back({{.dtype = DType::kU8, .shape = {static_cast<int64_t>(run.scratch_bytes)}}, scratch_, nullptr});
  }
  queue_->begin(step);
  queue_->launch(run, args, step);
  queue_->finish();
  if (args[1].values != made_values_) return;
  std::vector<std::byte> host(std::max(type.bytes(), type.scale_bytes()));
  const auto carry = [&](const BufferPtr& from, const BufferPtr& to, size_t offset, size_t bytes) {
    if (bytes == 0) return;
    queue_->download(std::span(host).first(bytes), *from, 0);
    queue_->upload(*to, offset, std::span(host).first(bytes));
  };
  carry(made_values_, whole.values, at, type.bytes());
  carry(made_scales_, whole.scales, scale_at, type.scale_bytes());
  queue_->finish();
}

const Kernel& WeightCopier::kernel(const OpPtr& repack, const TensorType& from, const TensorType& to) {
  if (last_.op != repack || last_.from != from) {
    last_ = {repack, from, device_.compile({*repack, {&from, 1}, {&to, 1}})};
  }
  return *last_.kernel;
}

// The piece where the device can read it.
Tensor WeightCopier::source(const WeightPiece& piece) {
  const auto bring = [&](std::span<const std::byte> bytes, BufferPtr& staging) -> BufferPtr {
    if (bytes.empty()) return nullptr;
    if (BufferPtr imported = device_.import_host(bytes)) return imported;
    grow(staging, bytes.size(), device_);
    queue_->upload(*staging, 0, bytes);
    return staging;
  };
  return {piece.type, bring(piece.values, staged_values_), bring(piece.scales, staged_scales_)};
}

// Where the repacked piece goes: its place in the whole, or buffers of its own when that is not aligned for a slice.
Tensor WeightCopier::target(const TensorType& type, const Tensor& whole, size_t at, size_t scale_at) {
  const size_t alignment = device_.info().alignment;
  const size_t bytes = type.bytes(), scale_bytes = type.scale_bytes();
  if (at % alignment == 0 && scale_at % alignment == 0) {
    return {type, whole.values->slice(at, bytes),
            scale_bytes > 0 ? whole.scales->slice(scale_at, scale_bytes) : nullptr};
  }
  grow(made_values_, bytes, device_);
  grow(made_scales_, scale_bytes, device_);
  return {type, made_values_, scale_bytes > 0 ? made_scales_ : nullptr};
}

}  // namespace v4rt
