#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
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

void add(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
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
  for (const auto& [name, type] : weights_) {
    at += sizeof(Entry) + name.size() + sizeof(Hash) * (pieces(type.bytes()) + pieces(type.scale_bytes()));
  }
  check(at <= kMaxHeader, Code::kUnsupported, "{}: a table of {} weights is too long", path_, weights_.size());
  const auto place = [&](uint64_t bytes) {
    const uint64_t begin = round_up(at, bytes >= 4 * kHugePage ? kHugePage : kPage);
    at = begin + bytes;
    return Plane{.begin = begin, .bytes = bytes, .written = 0, .piece = {}, .hashes = {}};
  };
  for (const auto& [name, type] : weights_) {
    Planes& planes = planes_.emplace_back();
    planes.values = place(type.bytes());
    if (type.scale_bytes() > 0) planes.scales = place(type.scale_bytes());
  }
  file_bytes_ = at;
}

std::vector<std::byte> WeightFileWriter::header() const {
  std::vector<std::byte> bytes(sizeof(Header));
  for (size_t i = 0; i < weights_.size(); ++i) {
    const auto& [name, type] = weights_[i];
    const auto& [values, scales] = planes_[i];
    Entry entry{.dtype = static_cast<uint8_t>(type.dtype),
                .layout = static_cast<uint8_t>(type.layout),
                .rank = static_cast<uint8_t>(type.shape.rank()),
                .unused = 0,
                .name_bytes = static_cast<uint32_t>(name.size()),
                .shape = {},
                .values = values.begin,
                .scales = scales.begin};
    for (int d = 0; d < type.shape.rank(); ++d) entry.shape[static_cast<size_t>(d)] = type.shape[d];
    add(bytes, std::as_bytes(std::span(&entry, 1)));
    add(bytes, std::as_bytes(std::span(name.data(), name.size())));
    for (const Plane* plane : {&values, &scales}) add(bytes, std::as_bytes(std::span(plane->hashes)));
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
  // Reserves the room now, if the file system can: the disk may fill up while the file is written.
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

void WeightFileWriter::append(const std::string& weight, Plane& plane, std::span<const std::byte> bytes) {
  check(bytes.size() <= plane.bytes - plane.written, Code::kInternal, "{}: {} bytes after {} of {}", weight,
        bytes.size(), plane.written, plane.bytes);
  write(plane.begin + plane.written, bytes);
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min<uint64_t>(bytes.size(), kPiece - plane.written % kPiece));
    if (!plane.piece) plane.piece.emplace();
    plane.piece->append(part);
    plane.written += part.size();
    bytes = bytes.subspan(part.size());
    if (plane.written % kPiece != 0 && plane.written != plane.bytes) continue;
    plane.hashes.push_back(plane.piece->value());
    plane.piece.reset();
  }
}

void WeightFileWriter::append_values(size_t index, std::span<const std::byte> bytes) {
  append(weights_[index].name, planes_[index].values, bytes);
}

void WeightFileWriter::append_scales(size_t index, std::span<const std::byte> bytes) {
  append(weights_[index].name, planes_[index].scales, bytes);
}

// The header is written last, and the file gets its name when every byte is on disk: a file with that name is complete.
void WeightFileWriter::commit(const std::function<void(double done)>& progress) {
  for (size_t i = 0; i < weights_.size(); ++i) {
    for (const Plane* plane : {&planes_[i].values, &planes_[i].scales}) {
      check(plane->written == plane->bytes, Code::kInternal, "{}: {} of {} bytes were written", weights_[i].name,
            plane->written, plane->bytes);
    }
  }
  write(0, header());
  while (::fsync(file_) != 0) {
    if (errno == EINVAL) break;  // a file system without fsync
    check(errno == EINTR, Code::kInvalidArgument, "{}: cannot be written: {}", temporary_, std::strerror(errno));
  }
  (void)::posix_fadvise(file_, 0, 0, POSIX_FADV_DONTNEED);  // so that the check reads the disk, not the page cache
  WeightFile::open(temporary_, key_)->check_all(progress);
  const bool renamed = std::rename(temporary_.c_str(), path_.c_str()) == 0;
  check(renamed, Code::kInvalidArgument, "{}: cannot be written: {}", path_, std::strerror(errno));
  ::close(std::exchange(file_, -1));
}

}  // namespace v4rt
