#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct XXH3_state_s;  // xxhash.h

namespace v4rt {

// 128 bits (XXH3), the same on every machine. Not cryptographic: two things have the same hash only if somebody made
// them so. Whatever is stored under a hash, or checked by one, must come from a trusted place.
using Hash = std::array<uint64_t, 2>;

std::string to_string(const Hash& hash);  // 32 hexadecimal digits

class Hasher {
 public:
  Hasher();

  void append(std::span<const std::byte> bytes);  // continues where the last call ended
  // Parts that stay apart: "ab", "c" gives another hash than "a", "bc".
  void add(std::span<const std::byte> bytes);
  void add(std::string_view text) { add(std::as_bytes(std::span<const char>(text.data(), text.size()))); }
  void add(uint64_t number);
  void add(const Hash& hash);

  Hash value() const;

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

Hash hash_of(std::span<const std::byte> bytes);
inline Hash hash_of(std::string_view text) {
  return hash_of(std::as_bytes(std::span<const char>(text.data(), text.size())));
}

// The hash of the size and of `pages` pages of 4 KiB spread evenly from the first to the last, or of all bytes if there
// are no more pages than that.
Hash hash_of_pages(std::span<const std::byte> bytes, size_t pages);

}  // namespace v4rt
