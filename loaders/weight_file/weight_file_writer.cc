#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "loaders/weight_file/weight_file.h"
#include "loaders/weight_file/weight_file_format.h"
#include "ops/core/arith.h"
#include "ops/core/error.h"
#include "ops/core/human.h"

namespace v4rt {
namespace {

using namespace weight_file;  // the format that this file writes

namespace fs = std::filesystem;

std::string folder_of(const std::string& path) {
  const fs::path folder = fs::path(path).parent_path();
  return folder.empty() ? "." : folder.string();
}

void append(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace

WeightFileWriter::WeightFileWriter(std::string path, const Hash& key, std::vector<NewWeight> weights)
    : path_(std::move(path)),
      temporary_(fmt::format("{}.{}{}", path_, ::getpid(), kUnfinished)),
      key_(key),
      weights_(std::move(weights)) {
  lay_out();
}

WeightFileWriter::~WeightFileWriter() {
  if (file_ < 0) return;
  ::close(file_);
  ::unlink(temporary_.c_str());
}

void WeightFileWriter::lay_out() {
  uint64_t at = sizeof(Header);
  for (const NewWeight& weight : weights_) at += sizeof(Entry) + weight.name.size();
  check(at <= kMaxHeader, Code::kUnsupported, "{}: a table of {} weights is too long", path_, weights_.size());
  const auto place = [&](uint64_t bytes) {
    const uint64_t begin = round_up(at, bytes >= 4 * kHugePage ? kHugePage : kPage);
    at = begin + bytes;
    return begin;
  };
  for (const NewWeight& weight : weights_) {
    const uint64_t values = place(weight.type.bytes());
    places_.push_back({values, weight.type.scale_bytes() > 0 ? place(weight.type.scale_bytes()) : 0});
  }
  file_bytes_ = at;
}

std::vector<std::byte> WeightFileWriter::header() const {
  std::vector<std::byte> bytes(sizeof(Header));
  for (size_t i = 0; i < weights_.size(); ++i) {
    const auto& [name, type] = weights_[i];
    Entry entry{.dtype = static_cast<uint8_t>(type.dtype),
                .layout = static_cast<uint8_t>(type.layout),
                .rank = static_cast<uint8_t>(type.shape.rank()),
                .unused = 0,
                .name_bytes = static_cast<uint32_t>(name.size()),
                .shape = {},
                .values = places_[i].values,
                .scales = places_[i].scales};
    for (int d = 0; d < type.shape.rank(); ++d) entry.shape[static_cast<size_t>(d)] = type.shape[d];
    append(bytes, std::as_bytes(std::span(&entry, 1)));
    append(bytes, std::as_bytes(std::span(name.data(), name.size())));
  }
  Header header{kMagic, kVersion, static_cast<uint32_t>(weights_.size()), key_, bytes.size(), file_bytes_, {}};
  std::memcpy(bytes.data(), &header, sizeof(header));
  header.checksum = checksum(bytes);
  std::memcpy(bytes.data(), &header, sizeof(header));
  return bytes;
}

void WeightFileWriter::check_room() const {
  std::error_code error;
  const fs::space_info space = fs::space(folder_of(path_), error);
  check(error || space.available >= file_bytes_, Code::kInvalidArgument,
        "{}: these weights take {}, its disk has {} free; make room, or name another folder", folder_of(path_),
        human_bytes(file_bytes_), human_bytes(space.available));
}

void WeightFileWriter::begin() {
  check_room();
  file_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  check(file_ >= 0, Code::kInvalidArgument, "{}: cannot be written: {}; name another folder", folder_of(path_),
        std::strerror(errno));
  // Takes the room now, where the file system can: the disk may fill while the file is written.
  const auto size = static_cast<off_t>(file_bytes_);
  const bool reserved = ::fallocate(file_, 0, 0, size) == 0;
  check(reserved || errno != ENOSPC, Code::kInvalidArgument,
        "{}: has no room for {}; make room, or name another folder", folder_of(path_), human_bytes(file_bytes_));
  const bool sized = reserved || ::ftruncate(file_, size) == 0;
  check(sized, Code::kInvalidArgument, "{}: cannot be {} long: {}", temporary_, human_bytes(file_bytes_),
        std::strerror(errno));
}

void WeightFileWriter::write(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    check(n > 0, Code::kInvalidArgument, "{}: cannot be written: {}", temporary_, std::strerror(errno));
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
}

void WeightFileWriter::write_values(size_t index, uint64_t at, std::span<const std::byte> bytes) {
  const uint64_t size = weights_[index].type.bytes();
  check(at <= size && bytes.size() <= size - at, Code::kInternal, "{}: values [{}, +{}) of {}", weights_[index].name,
        at, bytes.size(), size);
  write(places_[index].values + at, bytes);
}

void WeightFileWriter::write_scales(size_t index, uint64_t at, std::span<const std::byte> bytes) {
  const uint64_t size = weights_[index].type.scale_bytes();
  check(at <= size && bytes.size() <= size - at, Code::kInternal, "{}: scales [{}, +{}) of {}", weights_[index].name,
        at, bytes.size(), size);
  write(places_[index].scales + at, bytes);
}

// The header goes last, and the name when all bytes are on the disk: what has the name is whole.
void WeightFileWriter::commit() {
  write(0, header());
  while (::fsync(file_) != 0) {
    if (errno == EINVAL) break;  // a file system that knows no fsync
    check(errno == EINTR, Code::kInvalidArgument, "{}: cannot be written: {}", temporary_, std::strerror(errno));
  }
  const bool renamed = std::rename(temporary_.c_str(), path_.c_str()) == 0;
  check(renamed, Code::kInvalidArgument, "{}: cannot be written: {}", path_, std::strerror(errno));
  ::close(std::exchange(file_, -1));
}

}  // namespace v4rt
