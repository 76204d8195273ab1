#include "backend/opencl/binary_store.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>

#include "ops/core/log.h"

namespace v4rt {
namespace {

constexpr uint64_t kMagic = 0x3130'6c63'7472'3476;  // "v4rtcl01": changes with the format

struct Header {
  uint64_t magic, key_bytes, data_bytes, checksum;
};

// 64-bit multiply and shift over 8-byte words; seeded, so that two of them name a file.
uint64_t hash(std::span<const std::byte> bytes, uint64_t seed) {
  uint64_t h = seed ^ (bytes.size() * 0x9e37'79b9'7f4a'7c15);
  for (size_t i = 0; i < bytes.size(); i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, std::min<size_t>(8, bytes.size() - i));
    h = (h ^ word) * 0xff51'afd7'ed55'8ccd;
    h ^= h >> 32;
  }
  return h;
}

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}

// nullopt: not there. Throws std::runtime_error when it is there and not what it should be.
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
  if (hash(data, kMagic) != header.checksum) throw std::runtime_error("its checksum is wrong");
  return data;
}

}  // namespace

std::string BinaryStore::path(std::string_view key) const {
  return fmt::format("{}/{:016x}{:016x}.clbin", directory_, hash(as_bytes(key), 1), hash(as_bytes(key), 2));
}

std::optional<std::vector<std::byte>> BinaryStore::load(std::string_view key) const {
  if (directory_.empty()) return std::nullopt;
  try {
    return read_entry(path(key), key);
  } catch (const std::exception& error) {
    log::debug("opencl: cache entry {} is not used: {}", path(key), error.what());
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
    const Header header{kMagic, key.size(), bytes.size(), hash(bytes, kMagic)};
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(&header), sizeof(header));
    file.write(key.data(), static_cast<std::streamsize>(key.size()));
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (!file) error = std::make_error_code(std::errc::io_error);
  }
  if (!error) std::filesystem::rename(temporary, target, error);
  if (error) {
    log::debug("opencl: cache entry {} could not be written: {}", target, error.message());
    std::filesystem::remove(temporary, error);
  }
}

}  // namespace v4rt
