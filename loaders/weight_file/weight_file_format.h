#pragma once

// The bytes that WeightFile reads and WeightFileWriter writes, in the machine's byte order.

#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "ops/core/arith.h"
#include "ops/core/hash.h"

namespace v4rt::weight_file {

inline constexpr std::array<char, 8> kMagic{'v', '4', 'r', 't', 'w', 'g', 't', 's'};
inline constexpr uint32_t kVersion = 3;
inline constexpr uint64_t kPage = 4096, kHugePage = uint64_t{2} << 20;
inline constexpr uint64_t kMaxHeader = uint64_t{64} << 20;
inline constexpr uint64_t kPiece = uint64_t{1} << 20;  // bytes of a plane under one checksum; the last piece is shorter

struct Header {
  std::array<char, 8> magic;
  uint32_t version, weights;
  Hash key;
  uint64_t header_bytes;  // with the table
  uint64_t file_bytes;
  Hash checksum;  // of header and table, this field zero
};
static_assert(sizeof(Header) == 64);

// One weight of the table; its name follows, then the hashes of the pieces of its values and of its scales.
struct Entry {
  uint8_t dtype, layout, rank, unused;
  uint32_t name_bytes;
  std::array<int64_t, 4> shape;
  uint64_t values, scales;  // offsets in the file; scales 0: none
};
static_assert(sizeof(Entry) == 56);

inline constexpr uint64_t pieces(uint64_t plane_bytes) { return ceil_div(plane_bytes, kPiece); }

// Of header and table.
inline Hash checksum(std::span<const std::byte> bytes) {
  Header header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  header.checksum = {};
  Hasher sum;
  sum.append(std::as_bytes(std::span(&header, 1)));
  sum.append(bytes.subspan(sizeof(header)));
  return sum.value();
}

}  // namespace v4rt::weight_file
