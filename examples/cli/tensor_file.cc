#include "examples/cli/tensor_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "loaders/safetensors/safetensors_writer.h"
#include "ops/core/error.h"

namespace v4rt::cli {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

TensorFile::Temporary::Temporary(const std::string& final_path)
    : path(fmt::format("{}.{}.part", final_path, getpid())),
      file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {}

TensorFile::Temporary::~Temporary() {
  if (file < 0) return;
  ::close(file);
  ::unlink(path.c_str());
}

TensorFile::TensorFile(std::string path, std::vector<Matrix> matrices) : path_(std::move(path)), temporary_(path_) {
  if (temporary_.file < 0) fail_to("created");
  std::error_code none;
  check(!std::filesystem::exists(path_, none) || std::filesystem::is_regular_file(path_, none), Code::kInvalidArgument,
        "{}: is not a regular file and would be replaced; name another", path_);
  std::vector<HeaderEntry> entries;
  int64_t bytes = 0;
  for (const Matrix& m : matrices) {
    offsets_.push_back(bytes);
    entries.push_back({m.name, "F32", {m.rows, m.columns}, m.rows * m.columns * static_cast<int64_t>(sizeof(float))});
    bytes += entries.back().bytes;
  }
  const std::string header = safetensors_header(entries);
  for (int64_t& offset : offsets_) offset += static_cast<int64_t>(header.size());
  write(std::as_bytes(std::span(header)), 0);
}

void TensorFile::write_row(size_t matrix, int64_t row, std::span<const float> values) {
  write(std::as_bytes(values), offsets_[matrix] + row * static_cast<int64_t>(values.size_bytes()));
}

void TensorFile::commit() {
  if (::fsync(temporary_.file) != 0 && errno != EINVAL) fail_to("written");
  if (std::rename(temporary_.path.c_str(), path_.c_str()) != 0) fail_to("written");
  ::close(temporary_.file);
  temporary_.file = -1;
}

void TensorFile::write(std::span<const std::byte> bytes, int64_t offset) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(temporary_.file, bytes.data(), bytes.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_to("written");
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += n;
  }
}

void TensorFile::fail_to(std::string_view what) const {
  fail(Code::kInvalidArgument, "{}: cannot be {}: {}", path_, what, std::strerror(errno));
}

}  // namespace v4rt::cli
