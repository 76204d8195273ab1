// A file of weights. It is opened twice: as it is, and with a correct checksum in the header, without which nothing
// would get beyond the header.

#include "loaders/weight_file/weight_file.h"

#include <algorithm>
#include <cstring>

#include "loaders/weight_file/weight_file_format.h"
#include "ops/core/error.h"
#include "tests/fuzz/target.h"
#include "tests/support/safetensors_writer.h"

namespace v4rt::fuzz {
namespace {

constexpr Hash kKey{1, 2};

std::string with_checksum(std::string_view input) {
  std::string bytes(input);
  weight_file::Header header;
  if (bytes.size() < sizeof(header)) return bytes;
  std::memcpy(&header, bytes.data(), sizeof(header));
  header.key = kKey;
  header.file_bytes = bytes.size();
  const size_t size = std::min<size_t>(header.header_bytes, bytes.size());
  std::memcpy(bytes.data(), &header, sizeof(header));
  if (size < sizeof(header)) return bytes;
  header.checksum = weight_file::checksum(std::as_bytes(std::span(bytes)).first(size));
  std::memcpy(bytes.data(), &header, sizeof(header));
  return bytes;
}

void open(const std::string& bytes) {
  static const TempFolder folder;
  const auto file = WeightFile::open(folder.write("weights", bytes), kKey);
  require(file->bytes() == bytes.size(), "a file of another length");
  require(file->weights() <= bytes.size(), "more weights than the table has room for");
  file->check_some();
  file->find("matrix", {.dtype = DType::kFp4, .shape = {2, 32, 64}, .layout = Layout::kRows16});
}

}  // namespace

void read(std::string_view input) {
  try {
    open(with_checksum(input));
  } catch (const Error&) {
  }
  open(std::string(input));
}

}  // namespace v4rt::fuzz
