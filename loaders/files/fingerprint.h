#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace v4rt {

// 128 bits of everything that was added, in order: to tell things apart that nobody made to look alike.
class Fingerprint {
 public:
  using Value = std::array<uint64_t, 2>;

  void add(std::span<const std::byte> bytes);  // and their number
  void add(std::string_view text) { add(std::as_bytes(std::span<const char>(text.data(), text.size()))); }
  void add(uint64_t number);
  Value value() const { return state_; }

 private:
  Value state_{0x6a09'e667'f3bc'c908, 0xbb67'ae85'84ca'a73b};
};

}  // namespace v4rt
