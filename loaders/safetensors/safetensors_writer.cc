#include "loaders/safetensors/safetensors_writer.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>

#include "ops/core/error.h"

namespace v4rt {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr const char* kIndexName = "model.safetensors.index.json";

std::span<const std::byte> as_bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

}  // namespace

std::string safetensors_header(std::span<const HeaderEntry> entries) {
  nlohmann::ordered_json::object_t object;  // a list, since its names differ anyway
  object.reserve(entries.size() + 1);
  object.push_back({"__metadata__", nlohmann::ordered_json::object({{"format", "pt"}})});
  int64_t at = 0;
  for (const HeaderEntry& entry : entries) {
    object.push_back(
        {entry.name, nlohmann::ordered_json::object(
                         {{"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {at, at + entry.bytes}}})});
    at += entry.bytes;
  }
  std::string text = nlohmann::ordered_json(std::move(object)).dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + text;
}

SafetensorsWriter::SafetensorsWriter(std::vector<NewTensor> tensors, int64_t shard_bytes)
    : tensors_(std::move(tensors)) {
  plan_shards(shard_bytes);
  for (size_t i = 0; i < shards_.size(); ++i) {
    Shard& shard = shards_[i];
    shard.name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards_.size());
    std::stable_sort(shard.tensors.begin(), shard.tensors.end(),
                     [&](size_t a, size_t b) { return bits(tensors_[a].type) > bits(tensors_[b].type); });
    shard.header = header_of(shard);
    file_bytes_ += static_cast<int64_t>(shard.header.size());
  }
  index_ = index_of_all();
  file_bytes_ += data_bytes_ + static_cast<int64_t>(index_.size());
}

void SafetensorsWriter::plan_shards(int64_t shard_bytes) {
  int64_t in_shard = 0;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const int64_t bytes = tensors_[i].bytes();
    if (shards_.empty() || in_shard + bytes > shard_bytes) {
      shards_.emplace_back();
      in_shard = 0;
    }
    shards_.back().tensors.push_back(i);
    in_shard += bytes;
    data_bytes_ += bytes;
  }
}

std::string SafetensorsWriter::header_of(const Shard& shard) const {
  std::vector<HeaderEntry> entries;
  for (const size_t i : shard.tensors) {
    const NewTensor& t = tensors_[i];
    const auto dims = t.shape.dims();
    entries.push_back({t.name, std::string(spelling(t.type)), {dims.begin(), dims.end()}, t.bytes()});
  }
  return safetensors_header(entries);
}

std::string SafetensorsWriter::index_of_all() const {
  nlohmann::json map = nlohmann::json::object();
  for (const Shard& shard : shards_) {
    for (const size_t i : shard.tensors) map[tensors_[i].name] = shard.name;
  }
  const nlohmann::json index = {{"metadata", {{"total_size", data_bytes_}}}, {"weight_map", std::move(map)}};
  return index.dump(2) + "\n";
}

std::vector<std::string> SafetensorsWriter::file_names() const {
  std::vector<std::string> names;
  for (const Shard& shard : shards_) names.push_back(shard.name);
  names.emplace_back(kIndexName);
  return names;
}

void SafetensorsWriter::write(PendingFiles& files, const Fill& fill) const {
  std::vector<std::byte> block(kBlock);
  for (const Shard& shard : shards_) {
    files.begin(shard.name);
    files.append(as_bytes(shard.header));
    for (const size_t i : shard.tensors) {
      const auto bytes = static_cast<size_t>(tensors_[i].bytes());
      for (size_t offset = 0; offset < bytes; offset += kBlock) {
        const auto part = std::span(block).first(std::min(kBlock, bytes - offset));
        fill(i, static_cast<int64_t>(offset), part);
        files.append(part);
      }
    }
  }
  files.begin(kIndexName);
  files.append(as_bytes(index_));
}

}  // namespace v4rt
