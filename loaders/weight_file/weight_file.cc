#include "loaders/weight_file/weight_file.h"

#include <algorithm>
#include <random>

#include "loaders/weight_file/weight_file_format.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

using namespace weight_file;  // the format that this file reads

constexpr uint8_t kDTypes = static_cast<uint8_t>(DType::kFp4) + 1, kLayouts = static_cast<uint8_t>(Layout::kDense) + 1;

template <class T>
T read(std::span<const std::byte> from) {
  T value;
  std::memcpy(&value, from.data(), sizeof(T));
  return value;
}

class Reader {
 public:
  explicit Reader(const MappedFile& file) : path_(file.path()), file_(file.bytes()) {}

  // A copy of header and table, of the length they state, if the file has it. Thus changing the file while it is mapped
  // can change values, but not where we look for them.
  std::vector<std::byte> checked_header(const std::optional<Hash>& key) const {
    require(file_.size() >= sizeof(Header), "is too short for a header");
    const auto header = read<Header>(file_);
    require(header.magic == kMagic, "is no file of weights");
    check(header.version == kVersion, Code::kCorrupt, "{}: has version {} of the format, not {}", path_, header.version,
          kVersion);
    require(!key || header.key == *key, "was made from another checkpoint, or by another version");
    check(header.file_bytes == file_.size(), Code::kCorrupt, "{}: should have {} bytes and has {}", path_,
          header.file_bytes, file_.size());
    require(
        header.header_bytes >= sizeof(Header) && header.header_bytes <= std::min<uint64_t>(file_.size(), kMaxHeader),
        "has a header of a length that cannot be");
    const auto mapped = file_.first(header.header_bytes);
    std::vector<std::byte> bytes(mapped.begin(), mapped.end());
    require(checksum(bytes) == header.checksum, "has a header that does not match its checksum");
    return bytes;
  }

  struct Stored {
    NewWeight weight;
    WeightFile::Planes planes;
    std::vector<Hash> hashes;  // of the pieces of the values, then of the scales
  };

  // Takes the next weight from the rest of the table.
  Stored next(std::span<const std::byte>& table) {
    require(table.size() >= sizeof(Entry), "has a table that ends too soon");
    const auto entry = read<Entry>(table);
    table = table.subspan(sizeof(Entry));
    require(entry.name_bytes <= table.size(), "has a table that ends too soon");
    Stored stored{{{reinterpret_cast<const char*>(table.data()), entry.name_bytes}, type(entry)}, {}, {}};
    table = table.subspan(entry.name_bytes);
    const size_t scale_bytes = stored.weight.type.scale_bytes();
    stored.planes.values = plane(entry.values, stored.weight.type.bytes());
    if (scale_bytes > 0) stored.planes.scales = plane(entry.scales, scale_bytes);
    stored.hashes.resize(pieces(stored.planes.values.size()) + pieces(scale_bytes));
    const auto hashes = std::as_writable_bytes(std::span(stored.hashes));
    require(hashes.size() <= table.size(), "has a table that ends too soon");
    std::copy_n(table.begin(), hashes.size(), hashes.begin());
    table = table.subspan(hashes.size());
    return stored;
  }

  // Planes overlap neither each other nor the header.
  void check_apart(size_t header_bytes) {
    std::sort(taken_.begin(), taken_.end());
    size_t end = header_bytes;
    for (const auto& [begin, bytes] : taken_) {
      require(begin >= end, "has weights that overlap");
      end = begin + bytes;
    }
  }

  void require(bool ok, std::string_view fact) const { check(ok, Code::kCorrupt, "{}: {}", path_, fact); }

 private:
  TensorType type(const Entry& entry) const {
    require(entry.dtype < kDTypes && entry.layout < kLayouts && entry.rank <= 4, "has a weight of an unknown type");
    const std::span shape(entry.shape.data(), entry.rank);
    require(std::all_of(shape.begin(), shape.end(), [](int64_t d) { return d >= 0; }), "has a shape that cannot be");
    return {static_cast<DType>(entry.dtype), Shape(shape), static_cast<Layout>(entry.layout)};
  }

  std::span<const std::byte> plane(uint64_t offset, size_t bytes) {
    require(offset % kPage == 0 && offset <= file_.size() && bytes <= file_.size() - offset,
            "has a weight that does not lie inside the file");
    taken_.emplace_back(offset, bytes);
    return file_.subspan(offset, bytes);
  }

  const std::string& path_;
  const std::span<const std::byte> file_;
  std::vector<std::pair<uint64_t, size_t>> taken_;
};

}  // namespace

std::shared_ptr<const WeightFile> WeightFile::open(const std::string& path, const std::optional<Hash>& key) {
  std::shared_ptr<WeightFile> file(new WeightFile(MappedFile::open(path)));
  Reader reader(*file->file_);
  const std::vector<std::byte> header = reader.checked_header(key);
  std::span<const std::byte> table = std::span(header).subspan(sizeof(Header));
  for (uint32_t i = 0; i < read<Header>(header).weights; ++i) {
    auto [weight, planes, hashes] = reader.next(table);
    const auto [place, is_new] =
        file->planes_.try_emplace({std::move(weight.name), weight.type.layout}, weight.type, planes);
    reader.require(is_new, "has a weight twice");
    auto hash = hashes.begin();
    for (std::span<const std::byte> left : {planes.values, planes.scales}) {
      for (; !left.empty(); left = left.subspan(std::min<size_t>(kPiece, left.size()))) {
        file->pieces_.push_back({&place->first.first, left.first(std::min<size_t>(kPiece, left.size())), *hash++});
      }
    }
  }
  reader.require(table.empty(), "has a table that is too long");
  reader.check_apart(header.size());
  return file;
}

void WeightFile::check_piece(const Piece& piece) const {
  const auto begin = piece.bytes.data() - file_->bytes().data();
  check(hash_of(piece.bytes) == piece.hash, Code::kCorrupt,
        "{}: {} does not match its checksum in bytes [{}, {}) of the file; delete it, and it is written anew",
        file_->path(), *piece.weight, begin, begin + static_cast<ptrdiff_t>(piece.bytes.size()));
}

void WeightFile::check_some() const {
  constexpr size_t kEnough = size_t{16} << 20;
  if (bytes() <= kEnough || pieces_.empty()) return check_all(nullptr);
  std::minstd_rand random(std::random_device{}());
  std::uniform_int_distribution<size_t> any(0, pieces_.size() - 1);
  for (size_t read = 0; read < kEnough;) {
    const Piece& piece = pieces_[any(random)];
    check_piece(piece);
    read += std::max<size_t>(piece.bytes.size(), kPage);
  }
}

void WeightFile::check_all(const std::function<void(double done)>& progress) const {
  for (const Piece& piece : pieces_) {
    check_piece(piece);
    const auto end = piece.bytes.data() + piece.bytes.size() - file_->bytes().data();
    if (progress) progress(static_cast<double>(end) / static_cast<double>(bytes()));
  }
}

std::optional<WeightFile::Planes> WeightFile::find(std::string_view name, const TensorType& type) const {
  const auto found = planes_.find(std::pair(std::string(name), type.layout));
  if (found == planes_.end() || found->second.first != type) return std::nullopt;
  return found->second.second;
}

}  // namespace v4rt
