#include "examples/cli/tensor_file.h"

#include <bit>

#include "loaders/safetensors/safetensors_writer.h"
#include "ops/core/error.h"

namespace v4rt::cli {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

TensorFile::TensorFile(std::string path, const std::vector<std::string>& inputs, std::span<const Matrix> matrices)
    : file_(std::move(path), inputs) {
  check(file_.is_regular(), Code::kInvalidArgument, "{}: is not a regular file, and rows are not written in order",
        file_.path());
  std::vector<HeaderEntry> entries;
  int64_t bytes = 0;
  for (const Matrix& m : matrices) {
    offsets_.push_back(bytes);
    entries.push_back({m.name, "F32", {m.rows, m.columns}, m.rows * m.columns * static_cast<int64_t>(sizeof(float))});
    bytes += entries.back().bytes;
  }
  const std::string header = safetensors_header(entries);
  for (int64_t& offset : offsets_) offset += static_cast<int64_t>(header.size());
  file_.reserve(static_cast<int64_t>(header.size()) + bytes);
  file_.append(std::as_bytes(std::span(header)));
}

void TensorFile::write_row(size_t matrix, int64_t row, std::span<const float> values) {
  file_.write_at(offsets_[matrix] + row * static_cast<int64_t>(values.size_bytes()), std::as_bytes(values));
}

}  // namespace v4rt::cli
