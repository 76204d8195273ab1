#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "loaders/files/mapped_file.h"
#include "ops/core/hash.h"
#include "ops/core/tensor.h"

namespace v4rt {

// A file of weights in the layout that a device uses, to be mapped: a header, a table, then planes of bytes that begin
// on pages.
//
//   header   magic, version, number of weights, key, bytes of header and table, bytes of the file, checksum of both
//   weight   type (dtype, layout, shape), where its values and scales begin, its name, a checksum of each MiB of them
//   planes   from offsets that are multiples of 4 KiB, large ones of 2 MiB; as long as the type says
//
// The key identifies what the weights were made from and how; opening the file with another key fails.
class WeightFile {
 public:
  struct Planes {
    std::span<const std::byte> values, scales;
  };

  // Throws Error naming the path and what is wrong: not such a file, another version or key, cut short, a wrong
  // checksum or an impossible offset. Reads nothing of the planes. Without a key, any key will do.
  static std::shared_ptr<const WeightFile> open(const std::string& path, const std::optional<Hash>& key);

  // Throw Error naming the weight whose bytes are not those that were written. check_some() looks at random pieces, in
  // milliseconds; check_all() at everything, telling `progress` the share that is done.
  void check_some() const;
  void check_all(const std::function<void(double done)>& progress) const;

  std::optional<Planes> find(std::string_view name, const TensorType& type) const;  // valid as long as this object
  void check_intact() const { file_->check_intact(); }
  size_t bytes() const { return file_->bytes().size(); }
  size_t weights() const { return planes_.size(); }

 private:
  struct Piece {
    const std::string* weight;
    std::span<const std::byte> bytes;
    Hash hash;
  };
  void check_piece(const Piece& piece) const;

  explicit WeightFile(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) {}

  std::shared_ptr<const MappedFile> file_;
  std::map<std::pair<std::string, Layout>, std::pair<TensorType, Planes>, std::less<>> planes_;
  std::vector<Piece> pieces_;
};

struct NewWeight {
  std::string name;
  TensorType type;
};

// Writes such a file under a temporary name, with planes in any order; commit() renames it to `path`. Without a commit
// nothing is left.
class WeightFileWriter {
 public:
  static constexpr std::string_view kUnfinished =
      ".part";  // the end of temporary names, which begin with the name of `path`

  WeightFileWriter(std::string path, const Hash& key, std::vector<NewWeight> weights);
  ~WeightFileWriter();
  WeightFileWriter(const WeightFileWriter&) = delete;
  WeightFileWriter& operator=(const WeightFileWriter&) = delete;

  uint64_t file_bytes() const { return file_bytes_; }
  void begin();  // throws Error if there is no room (with figures), or the folder cannot be written
  // The next bytes of a plane of weights[index].
  void append_values(size_t index, std::span<const std::byte> bytes);
  void append_scales(size_t index, std::span<const std::byte> bytes);
  // Reads everything back from disk before the file gets its name. Throws Error if bytes are missing or wrong.
  void commit(const std::function<void(double done)>& progress);

 private:
  struct Plane {
    uint64_t begin = 0, bytes = 0, written = 0;
    std::optional<Hasher> piece;  // the one that is being written
    std::vector<Hash> hashes;     // of those that are
  };
  struct Planes {
    Plane values, scales;
  };
  void lay_out();
  std::vector<std::byte> header() const;
  void check_room() const;
  void append(const std::string& weight, Plane& plane, std::span<const std::byte> bytes);
  void write(uint64_t offset, std::span<const std::byte> bytes);

  const std::string path_, temporary_;
  const Hash key_;
  const std::vector<NewWeight> weights_;
  std::vector<Planes> planes_;
  uint64_t file_bytes_ = 0;
  int file_ = -1;
};

}  // namespace v4rt
