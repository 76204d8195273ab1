#include "loaders/checkpoint/checkpoint_source.h"

#include <algorithm>
#include <filesystem>

#include "loaders/checkpoint/checkpoint_values.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

// Kept alive by a view.
struct Held {
  std::shared_ptr<const SafetensorsSet> set;
  std::vector<OwnedBytes> memory;
};

// Kernels read numbers with ordinary loads; codes are bytes.
size_t alignment(DType dtype) { return has_scale_plane(dtype) ? 1 : static_cast<size_t>(info(dtype).block_bytes); }

std::span<const std::byte> aligned(std::span<const std::byte> bytes, DType dtype, std::vector<OwnedBytes>& memory) {
  if (reinterpret_cast<uintptr_t>(bytes.data()) % alignment(dtype) == 0) return bytes;
  const auto copy = memory.emplace_back(bytes.size()).bytes();
  std::copy(bytes.begin(), bytes.end(), copy.begin());
  return copy;
}

void view_pieces(const WeightLayout& layout, WeightView& view, std::vector<OwnedBytes>& memory) {
  for (const Piece& piece : layout.pieces) {
    view.parts.push_back(aligned(value_bytes(piece), layout.type.dtype, memory));
    if (piece.stored.scales != nullptr) view.scale_parts.push_back(scale_bytes(piece, memory));
  }
}

// The header and some pages of a file. Hashing all of it would take as long as reading the model.
void add_content(Hasher& sum, const MappedFile& file, size_t pages) {
  const std::span<const std::byte> bytes = file.bytes();
  uint64_t length = 0;
  for (size_t i = 0; i < 8; ++i) length |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
  sum.add(bytes.subspan(8, std::min<uint64_t>(length, bytes.size() - 8)));
  sum.add(hash_of_pages(bytes, pages));
}

// Which rows of which tensors a weight is made from; that depends on the configuration too.
void add_layout(Hasher& sum, const WeightLayout& layout) {
  sum.add(layout.info.name);
  sum.add(to_string(layout.type));
  for (const Piece& piece : layout.pieces) {
    sum.add(piece.stored.values->name);
    sum.add(static_cast<uint64_t>(piece.first_row));
    sum.add(static_cast<uint64_t>(piece.rows));
  }
}

// The name of the checkpoint's folder, or of the file in it, with a hash of its path.
std::string file_name(const SafetensorsSet& set) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path path = fs::canonical(set.source().folder(), error);
  if (error) path = fs::absolute(set.source().folder());
  const fs::path stem = fs::path(set.files().front()->path()).stem();
  if (set.files().size() == 1 && stem != "model") path /= stem;
  return fmt::format("{:.100}-{:08x}", path.filename().string(), hash_of(path.string())[0] >> 32);
}

}  // namespace

CheckpointSource::CheckpointSource(V4Config config, std::shared_ptr<const SafetensorsSet> set,
                                   std::vector<WeightLayout> layouts)
    : config_(std::move(config)), set_(std::move(set)), layouts_(std::move(layouts)), checked_(layouts_.size()) {
  for (size_t i = 0; i < layouts_.size(); ++i) by_name_.emplace(layouts_[i].info.name, i);
}

size_t CheckpointSource::index_of(std::string_view name) const {
  const auto found = by_name_.find(std::string(name));
  check(found != by_name_.end(), Code::kNotFound, "'{}' is not a weight of this model", name);
  return found->second;
}

bool CheckpointSource::has(std::string_view name) const { return by_name_.count(std::string(name)) != 0; }

TensorType CheckpointSource::type(std::string_view name) const { return layouts_[index_of(name)].type; }

ActivationRounding CheckpointSource::activation_rounding(std::string_view name) const {
  const std::vector<Piece>& pieces = layouts_[index_of(name)].pieces;
  const auto narrow =
      std::count_if(pieces.begin(), pieces.end(), [](const Piece& p) { return has_scale_plane(p.dtype); });
  if (narrow == 0) return ActivationRounding::kNone;
  return narrow == std::ssize(pieces) ? ActivationRounding::kFp8 : ActivationRounding::kMixed;
}

WeightView CheckpointSource::get(std::string_view name) const {
  const WeightLayout& layout = layouts_[index_of(name)];
  check_intact();
  auto held = std::make_shared<Held>();
  held->set = set_;
  WeightView view{layout.type, {}, {}, held};
  if (layout.convert) {
    const auto bytes = held->memory.emplace_back(layout.type.bytes()).bytes();
    convert(layout, config_.num_experts, *set_, bytes);
    view.parts.push_back(bytes);
  } else {
    view_pieces(layout, view, held->memory);
  }
  return view;
}

void CheckpointSource::check_values(std::string_view name) const {
  const size_t index = index_of(name);
  if (checked_[index].load(std::memory_order_relaxed)) return;
  check_intact();
  check_stored_values(layouts_[index], *set_);
  checked_[index].store(true, std::memory_order_relaxed);
}

bool CheckpointSource::is_mapped(std::span<const std::byte> bytes) const {
  const auto& files = set_->files();
  return std::any_of(files.begin(), files.end(),
                     [&](const auto& file) { return file->is_mapped() && file->contains(bytes); });
}

void CheckpointSource::check_intact() const {
  for (const auto& file : set_->files()) file->check_intact();
}

std::optional<WeightIdentity> CheckpointSource::identity() const {
  if (set_->source().folder().empty()) return std::nullopt;
  constexpr size_t kPages = 256, kLeastPages = 4;  // each page may cost a disk access
  const size_t pages = std::max(kLeastPages, kPages / set_->files().size());
  Hasher content;
  for (const auto& file : set_->files()) add_content(content, *file, pages);
  for (const WeightLayout& layout : layouts_) add_layout(content, layout);
  // A change in place may fall between the sampled pages, but it also changes the time that the file system keeps.
  Hasher value;
  value.add(content.value());
  for (const auto& file : set_->files()) {
    value.add(file->inode());
    value.add(static_cast<uint64_t>(file->changed()));
  }
  return WeightIdentity{file_name(*set_), value.value(), content.value()};
}

void CheckpointSource::release(const WeightView& view) const {
  const auto drop = [&](std::span<const std::byte> part) {
    for (const auto& file : set_->files()) {
      if (file->contains(part)) file->advise(part, MappedFile::Advice::kDontNeed);
    }
  };
  for (const auto part : view.parts) drop(part);
  for (const auto part : view.scale_parts) drop(part);
}

}  // namespace v4rt
