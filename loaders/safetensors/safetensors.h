#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "loaders/files/file_source.h"
#include "ops/core/tensor.h"

namespace v4rt {

// Element types that a safetensors file can name (spec checkpoints.md section 5.1).
enum class StoredType : uint8_t {
  kBool,
  kU8,
  kI8,
  kF4,
  kF8E4M3,
  kF8E5M2,
  kF8E8M0,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kF64,
  kI64,
  kU64
};
std::string_view spelling(StoredType type);  // "F8_E4M3"
int bits(StoredType type);                   // of one element; 4 for F4, else whole bytes

// A tensor in its file: row-major, little-endian, possibly unaligned.
struct StoredTensor {
  std::string name;
  StoredType type = StoredType::kF32;
  Shape shape;
  std::span<const std::byte> bytes;
  size_t file = 0;  // index into SafetensorsSet::files()
};

// The tensors of one file, in the order of their data. The header is checked completely: each view is inside `file`,
// has the size that its type and shape imply, and overlaps no other. `source` names the file in messages.
std::vector<StoredTensor> parse_safetensors(std::span<const std::byte> file, std::string_view source);

// One file, or the shards of one model, by tensor name.
class SafetensorsSet {
 public:
  // `path`: a .safetensors file, or a folder with model.safetensors, model.safetensors.index.json and its shards,
  // model-0000i-of-0000n.safetensors without an index, or one .safetensors file of any name. Reads headers only.
  static std::shared_ptr<const SafetensorsSet> open(const std::string& path, FileAccess access = FileAccess::kMap);
  static std::shared_ptr<const SafetensorsSet> open(std::shared_ptr<const FileSource> source);

  const FileSource& source() const { return *source_; }
  const std::string& container() const { return container_; }  // "safetensors, 2 shards with index"
  const std::vector<std::shared_ptr<const MappedFile>>& files() const { return files_; }
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  const StoredTensor* find(std::string_view name) const;
  std::string describe(const StoredTensor& tensor) const;  // "<path>: tensor 'embed.weight'", for messages

 private:
  SafetensorsSet(std::shared_ptr<const FileSource> source, std::string where)
      : source_(std::move(source)), where_(std::move(where)) {}
  std::vector<StoredTensor> map_file(std::string_view name);
  void open_single(std::string_view name);
  void open_indexed();
  void open_shards(const std::vector<std::string>& names);
  void open_all();
  void add(StoredTensor tensor);

  std::shared_ptr<const FileSource> source_;
  std::string where_;  // for messages
  std::string container_;
  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::vector<StoredTensor> tensors_;
  std::unordered_map<std::string, size_t> by_name_;
};

}  // namespace v4rt
