#pragma once

// The bytes that WeightFile reads and WeightFileWriter writes, as the machine has them in memory.

#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "loaders/files/fingerprint.h"

namespace v4rt::weight_file {

inline constexpr std::array<char, 8> kMagic{'v', '4', 'r', 't', 'w', 'g', 't', 's'};
inline constexpr uint32_t kVersion = 1;
inline constexpr uint64_t kPage = 4096, kHugePage = uint64_t{2} << 20;
inline constexpr uint64_t kMaxHeader = uint64_t{64} << 20;

struct Header {
  std::array<char, 8> magic;
  uint32_t version, weights;
  Fingerprint::Value key;
  uint64_t header_bytes;  // with the table
  uint64_t file_bytes;
  uint64_t checksum;  // of header and table, this field zero
};
static_assert(sizeof(Header) == 56);

// One weight of the table; its name follows.
struct Entry {
  uint8_t dtype, layout, rank, unused;
  uint32_t name_bytes;
  std::array<int64_t, 4> shape;
  uint64_t values, scales;  // offsets in the file; scales 0: none
};
static_assert(sizeof(Entry) == 56);

// Of header and table.
inline uint64_t checksum(std::span<const std::byte> bytes) {
  Header header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  header.checksum = 0;
  Fingerprint sum;
  sum.add(std::as_bytes(std::span(&header, 1)));
  sum.add(bytes.subspan(sizeof(header)));
  return sum.value()[0];
}

}  // namespace v4rt::weight_file
