#include "backend/binary_store.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>

#include "ops/core/hash.h"
#include "ops/core/log.h"

namespace v4rt {
namespace {

constexpr uint64_t kMagic = 0x3230'6c63'7472'3476;  // "v4rtcl02": changes with the format

struct Header {
  uint64_t magic, key_bytes, data_bytes;
  Hash checksum;  // of the data
};

// nullopt: not there. Throws std::runtime_error if the file is damaged or for something else.
std::optional<std::vector<std::byte>> read_entry(const std::string& path, std::string_view key) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return std::nullopt;
  const auto size = static_cast<size_t>(file.tellg());
  file.seekg(0);
  Header header{};
  if (size < sizeof(header) || !file.read(reinterpret_cast<char*>(&header), sizeof(header))) {
    throw std::runtime_error("it has no header");
  }
  const size_t rest = size - sizeof(header);
  if (header.magic != kMagic) throw std::runtime_error("its format is another");
  if (header.key_bytes > rest || header.data_bytes != rest - header.key_bytes)
    throw std::runtime_error("its size is wrong");
  std::string stored_key(header.key_bytes, '\0');
  std::vector<std::byte> data(header.data_bytes);
  file.read(stored_key.data(), static_cast<std::streamsize>(stored_key.size()));
  file.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(data.size()));
  if (!file) throw std::runtime_error("it could not be read");
  if (stored_key != key) throw std::runtime_error("it belongs to another program");
  if (hash_of(data) != header.checksum) throw std::runtime_error("its checksum is wrong");
  return data;
}

}  // namespace

std::string BinaryStore::path(std::string_view key) const {
  return fmt::format("{}/{}{}", directory_, to_string(hash_of(key)), suffix_);
}

std::optional<std::vector<std::byte>> BinaryStore::load(std::string_view key, std::string* problem) const {
  if (directory_.empty()) return std::nullopt;
  try {
    return read_entry(path(key), key);
  } catch (const std::exception& error) {
    log::debug("cache entry {} is not used: {}", path(key), error.what());
    if (problem != nullptr) *problem = error.what();
    return std::nullopt;
  }
}

void BinaryStore::store(std::string_view key, const std::vector<std::byte>& bytes) const {
  if (directory_.empty()) return;
  static std::atomic<unsigned> serial{0};  // two devices of one process may store one program at once
  const std::string target = path(key);
  const std::string temporary = fmt::format("{}.{}.{}.tmp", target, getpid(), serial++);
  std::error_code error;
  std::filesystem::create_directories(directory_, error);
  {
    const Header header{kMagic, key.size(), bytes.size(), hash_of(bytes)};
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(&header), sizeof(header));
    file.write(key.data(), static_cast<std::streamsize>(key.size()));
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (!file) error = std::make_error_code(std::errc::io_error);
  }
  if (!error) std::filesystem::rename(temporary, target, error);
  if (error) {
    log::debug("cache entry {} could not be written: {}", target, error.message());
    std::filesystem::remove(temporary, error);
  }
}

}  // namespace v4rt
