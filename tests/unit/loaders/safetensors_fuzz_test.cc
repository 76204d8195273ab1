#include <gtest/gtest.h>

#include <array>
#include <random>

#include "loaders/checkpoint/v4_config.h"
#include "loaders/safetensors/safetensors.h"
#include "ops/core/error.h"
#include "tests/support/safetensors_writer.h"

namespace v4rt {
namespace {

// Random damage to well-formed input gives a result or an Error, nothing else. Under sanitizers this also finds reads
// outside the input.
class Mutator {
 public:
  explicit Mutator(unsigned seed) : random_(seed) {}

  std::string mutate(std::string text) {
    for (size_t n = 1 + pick(3); n > 0; --n) {
      if (text.empty()) return text;
      const size_t at = pick(text.size());
      switch (pick(6)) {
        case 0: text[at] = static_cast<char>(pick(256)); break;
        case 1: text.erase(at, 1 + pick(16)); break;
        case 2: text.insert(at, text.substr(pick(text.size()), pick(40))); break;
        case 3: text.resize(at); break;
        case 4: text.insert(at, 1, "{}[]\",:0-9.e"[pick(12)]); break;
        default: replace_number(text, at);
      }
    }
    return text;
  }

  size_t pick(size_t below) { return random_() % below; }

 private:
  // The next run of digits becomes a number at some limit.
  void replace_number(std::string& text, size_t at) {
    static constexpr std::array<const char*, 12> kNumbers{"0",
                                                          "1",
                                                          "-1",
                                                          "2147483648",
                                                          "4294967296",
                                                          "9223372036854775807",
                                                          "9223372036854775808",
                                                          "18446744073709551615",
                                                          "99999999999999999999",
                                                          "1e308",
                                                          "0.5",
                                                          "4611686018427387904"};
    const size_t begin = text.find_first_of("0123456789", at);
    if (begin == std::string::npos) return;
    const size_t end = text.find_first_not_of("0123456789", begin);
    text.replace(begin, end == std::string::npos ? std::string::npos : end - begin, kNumbers[pick(kNumbers.size())]);
  }

  std::mt19937 random_;
};

TEST(SafetensorsFuzz, HeadersEndInTensorsOrAnError) {
  const std::string whole = safetensors_bytes({{"layers.0.w", "F32", {2, 3}, std::string(24, 'a')},
                                               {"layers.0.s", "F8_E8M0", {1, 1}, "s"},
                                               {"packed", "I8", {4, 2}, std::string(8, 'p')},
                                               {"none", "BF16", {0}, ""}});
  const std::string header = whole.substr(8, whole.size() - 8 - 33), data = whole.substr(whole.size() - 33);
  Mutator mutator(1);
  int accepted = 0, refused = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string file = mutator.pick(8) == 0 ? mutator.mutate(whole) : file_bytes(mutator.mutate(header), data);
    file.shrink_to_fit();
    const std::vector<std::byte> bytes(reinterpret_cast<const std::byte*>(file.data()),
                                       reinterpret_cast<const std::byte*>(file.data()) + file.size());
    try {
      size_t sum = 0;
      for (const StoredTensor& t : parse_safetensors(bytes, "fuzz")) {
        for (std::byte b : t.bytes) sum += std::to_integer<size_t>(b);  // a view outside the file ends here
      }
      EXPECT_LE(sum, bytes.size() * 255);
      ++accepted;
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(accepted, 100);
  EXPECT_GT(refused, 10000);
}

TEST(SafetensorsFuzz, IndexesEndInTensorsOrAnError) {
  const TempFolder folder;
  folder.write("model-00001-of-00001.safetensors", safetensors_bytes({{"a", "U8", {2}, "aa"}, {"b", "U8", {1}, "b"}}));
  const std::string index = R"({"metadata":{"total_size":3},"weight_map":{"a":"model-00001-of-00001.safetensors",)"
                            R"("b":"model-00001-of-00001.safetensors"}})";
  Mutator mutator(2);
  int refused = 0;
  for (int i = 0; i < 1000; ++i) {
    folder.write("model.safetensors.index.json", mutator.mutate(index));
    try {
      EXPECT_LE(SafetensorsSet::open(folder.path())->tensors().size(), 2u);
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(SafetensorsFuzz, ConfigurationsEndInSaneValuesOrAnError) {
  Mutator mutator(3);
  int refused = 0;
  for (const char* path : {"/examples/models/v4-mini/config.json", "/tests/data/tiny-flash/config.json"}) {
    const auto file = MappedFile::open(std::string(V4RT_SOURCE_DIR) + path);
    const std::string text(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
    for (int i = 0; i < 3000; ++i) {
      try {
        const V4Config c = parse_v4_config(mutator.mutate(text), "fuzz");
        EXPECT_EQ(c.compress_ratios.size(), static_cast<size_t>(c.num_layers) + 1);
        EXPECT_EQ(c.num_heads % c.o_groups, 0);
        EXPECT_LE(c.num_hash_layers, c.num_layers);
        EXPECT_GT(c.hc_eps, 0);
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace v4rt
