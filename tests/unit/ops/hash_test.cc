#include "ops/core/hash.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

namespace v4rt {
namespace {

// Values from XXH3's own description: hashes stored by one machine must be found by another.
TEST(Hashes, AreXxh3) {
  EXPECT_EQ(to_string(hash_of("")), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(to_string(Hasher().value()), to_string(hash_of("")));
}

TEST(Hashes, DoNotDependOnHowBytesCome) {
  std::vector<std::byte> bytes(5000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 31 + (i >> 8));
  for (const size_t piece : {1, 7, 256, 4999}) {
    Hasher hasher;
    for (size_t at = 0; at < bytes.size(); at += piece)
      hasher.append(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at)));
    EXPECT_EQ(hasher.value(), hash_of(bytes)) << piece;
  }
}

TEST(Hashes, DependOnEveryByteAndOnWhereItIs) {
  const auto of = [](std::initializer_list<std::string_view> texts) {
    Hasher hasher;
    for (const std::string_view text : texts) hasher.add(text);
    return hasher.value();
  };
  EXPECT_EQ(of({"ab", "c"}), of({"ab", "c"}));
  EXPECT_NE(of({"ab", "c"}), of({"a", "bc"}));
  EXPECT_NE(of({"ab"}), of({"ab", ""}));
  EXPECT_NE(of({"abcdefgh1"}), of({"abcdefgh2"}));
  EXPECT_NE(of({std::string_view("a\0", 2)}), of({"a"}));
}

TEST(Hashes, OfPagesDependOnSizeAndSomeOfTheBytes) {
  std::vector<std::byte> bytes(size_t{4096} * 100 + 17);
  const Hash before = hash_of_pages(bytes, 5);
  size_t seen = 0;
  for (size_t at = 0; at < bytes.size(); at += 16) {
    bytes[at] = std::byte{1};
    seen += hash_of_pages(bytes, 5) != before;
    bytes[at] = std::byte{0};
  }
  EXPECT_EQ(seen, 5u * 4096 / 16);
  EXPECT_EQ(hash_of_pages(bytes, 5), before);
  for (const size_t at : {size_t{0}, bytes.size() / 4, bytes.size() - 1}) {
    bytes[at / 4096 * 4096] = std::byte{1};
    EXPECT_NE(hash_of_pages(bytes, 200), hash_of_pages(std::vector<std::byte>(bytes.size()), 200)) << at;
    bytes[at / 4096 * 4096] = std::byte{0};
  }
  EXPECT_NE(hash_of_pages(bytes, 5), hash_of_pages(std::span(bytes).first(bytes.size() - 1), 5));
}

}  // namespace
}  // namespace v4rt
