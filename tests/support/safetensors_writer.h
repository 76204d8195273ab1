#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "loaders/safetensors/safetensors_writer.h"

namespace v4rt {

// A folder that is removed with the object.
class TempFolder {
 public:
  TempFolder() {
    static std::atomic<int> count{0};
    const std::string name = "v4rt-test-" + std::to_string(::getpid()) + "-" + std::to_string(count++);
    path_ = (std::filesystem::temp_directory_path() / name).string();
    std::filesystem::create_directories(path_);
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(file(name), std::ios::binary) << bytes;
    return file(name);
  }

 private:
  std::string path_;
};

// A tensor to write; nothing is checked.
struct RawTensor {
  std::string name, dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

// A file made from a header text and data, without any check.
inline std::string file_bytes(const std::string& header, const std::string& data) {
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(static_cast<uint64_t>(header.size()) >> (8 * i));
  return out + header + data;
}

// `shift` extra blanks in the header move the data off its alignment.
inline std::string safetensors_bytes(const std::vector<RawTensor>& tensors, size_t shift = 0) {
  std::vector<HeaderEntry> entries;
  std::string data;
  for (const RawTensor& t : tensors) {
    entries.push_back({t.name, t.dtype, t.shape, static_cast<int64_t>(t.bytes.size())});
    data += t.bytes;
  }
  return file_bytes(safetensors_header(entries).substr(sizeof(uint64_t)) + std::string(shift, ' '), data);
}

inline std::vector<RawTensor> read_raw(const std::string& path) {
  const auto set = SafetensorsSet::open(path);
  std::vector<RawTensor> out;
  for (const StoredTensor& t : set->tensors()) {
    out.push_back({t.name,
                   std::string(spelling(t.type)),
                   {t.shape.dims().begin(), t.shape.dims().end()},
                   {reinterpret_cast<const char*>(t.bytes.data()), t.bytes.size()}});
  }
  return out;
}

}  // namespace v4rt
