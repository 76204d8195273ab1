#include "loaders/files/fingerprint.h"

#include <algorithm>
#include <cstring>

namespace v4rt {

void Fingerprint::add(uint64_t number) {
  auto& [a, b] = state_;
  a = (a ^ number) * 0xff51'afd7'ed55'8ccd;
  a ^= a >> 32;
  b = (b + number) * 0x9e37'79b9'7f4a'7c15;
  b ^= b >> 29;
}

void Fingerprint::add(std::span<const std::byte> bytes) {
  add(uint64_t{bytes.size()});
  for (size_t i = 0; i < bytes.size(); i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, std::min<size_t>(8, bytes.size() - i));
    add(word);
  }
}

}  // namespace v4rt
