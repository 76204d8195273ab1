#include "graph/runtime/weight_copy.h"

#include <algorithm>
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
  if (bytes == 0 || (buffer != nullptr && buffer->bytes() >= bytes)) return;
  buffer = nullptr;  // first, so that there are never two
  buffer = device.allocate(bytes);
}

}  // namespace

WeightView slice(const WeightView& view, const WeightRange& range) {
  if (range.count == 0) return view;
  check(view.type.shape.rank() == 3, Code::kUnsupported, "{} cannot be cut into ranges", to_string(view.type));
  WeightView part{.type = range_of(view.type, range), .parts = {}, .scale_parts = {}, .owner = view.owner};
  const TensorType one = range_of(view.type, {0, 1});
  const auto cut = [&](const auto& from, size_t bytes, auto& to) {
    size_t at = 0;  // of the part in the whole plane
    const size_t begin = static_cast<size_t>(range.first) * bytes,
                 end = begin + static_cast<size_t>(range.count) * bytes;
    for (const std::span<const std::byte>& piece : from) {
      const size_t lo = std::max(at, begin), hi = std::min(at + piece.size(), end);
      if (lo < hi) to.push_back(piece.subspan(lo - at, hi - lo));
      at += piece.size();
    }
  };
  cut(view.parts, one.bytes(), part.parts);
  cut(view.scale_parts, one.scale_bytes(), part.scale_parts);
  return part;
}

std::vector<WeightPiece> repack_pieces(const WeightView& view) {
  if (view.type.shape.elements() == 0) return {};
  if (view.type.scale_bytes() > 0 && view.scale_parts.size() != view.parts.size()) return {};
  if (view.type.shape.rank() == 3) return matrices(view);
  return view.type.shape.rank() == 2 ? row_ranges(view) : std::vector<WeightPiece>{};
}

// Every piece in order, with its type in `layout`. Parts that cannot be cut are joined first.
void WeightCopier::for_pieces(const WeightView& view, Layout layout, const TakePiece& take) {
  std::vector<WeightPiece> pieces = repack_pieces(view);
  std::vector<std::byte> values, scales;
  if (pieces.empty()) {
    values = join(view.parts);
    scales = join(view.scale_parts);
    pieces.push_back({view.type, values, scales});
  }
  for (const WeightPiece& piece : pieces) {
    TensorType type = piece.type;
    type.layout = layout;
    take(piece, type);
  }
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
  size_t at = 0, scale_at = 0;
  for_pieces(view, type.layout, [&](const WeightPiece& piece, const TensorType& to) {
    const size_t bytes = to.bytes(), scale_bytes = to.scale_bytes(), alignment = device_.info().alignment;
    if (at % alignment == 0 && scale_at % alignment == 0) {  // directly to its place
      const BufferPtr scales = scale_bytes > 0 ? whole.scales->slice(scale_at, scale_bytes) : nullptr;
      repack_piece(piece, repack, {to, whole.values->slice(at, bytes), scales});
    } else {  // through the host
      repack_piece(piece, repack, made(to));
      queue_->upload(*whole.values, at, on_host(made_values_, bytes, host_values_));
      if (scale_bytes > 0) queue_->upload(*whole.scales, scale_at, on_host(made_scales_, scale_bytes, host_scales_));
      queue_->finish();
    }
    at += bytes;
    scale_at += scale_bytes;
  });
  return whole;
}

void WeightCopier::read(const WeightView& view, const TensorType& type, const OpPtr& repack, const Take& take) {
  if (repack == nullptr) {
    for (const auto& part : view.parts) take(part, {});
    for (const auto& part : view.scale_parts) take({}, part);
    return;
  }
  for_pieces(view, type.layout, [&](const WeightPiece& piece, const TensorType& to) {
    repack_piece(piece, repack, made(to));
    take(on_host(made_values_, to.bytes(), host_values_), on_host(made_scales_, to.scale_bytes(), host_scales_));
  });
}

void WeightCopier::repack_piece(const WeightPiece& piece, const OpPtr& repack, const Tensor& to) {
  static constexpr Segment kSegment{.slot = 0, .position = 0, .n_tokens = 1};
  static constexpr Row kRow{.slot = 0, .position = 0, .first = 0, .end = 1};
  const Step step{{&kSegment, 1}, {&kRow, 1}};
  const Kernel& run = kernel(repack, piece.type, to.type);
  std::vector<Tensor> args{source(piece), to};
  if (run.scratch_bytes > 0) {
    grow(scratch_, run.scratch_bytes, device_);
    args.push_back({{.dtype = DType::kU8, .shape = {static_cast<int64_t>(run.scratch_bytes)}}, scratch_, nullptr});
  }
  queue_->begin(step);
  queue_->launch(run, args, step);
  queue_->finish();
}

const Kernel& WeightCopier::kernel(const OpPtr& repack, const TensorType& from, const TensorType& to) {
  if (last_.op != repack || last_.from != from) {
    last_ = {repack, from, device_.compile({*repack, {&from, 1}, {&to, 1}})};
  }
  return *last_.kernel;
}

// The piece in memory that the device can read.
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

// Buffers for a repacked piece that cannot be written directly to its place.
Tensor WeightCopier::made(const TensorType& type) {
  const size_t scale_bytes = type.scale_bytes();
  grow(made_values_, type.bytes(), device_);
  grow(made_scales_, scale_bytes, device_);
  return {type, made_values_, scale_bytes > 0 ? made_scales_ : nullptr};
}

// The first bytes of a buffer, in memory that the host can read.
std::span<const std::byte> WeightCopier::on_host(const BufferPtr& from, size_t bytes, std::vector<std::byte>& staging) {
  if (bytes == 0) return {};
  if (const std::byte* host = from->host()) return {host, bytes};
  if (staging.size() < bytes) staging.resize(bytes);
  queue_->download(std::span(staging).first(bytes), *from, 0);
  return std::span(staging).first(bytes);
}

}  // namespace v4rt
