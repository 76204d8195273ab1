#include "graph/evidence/golden.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "ops/core/error.h"

namespace v4rt {
namespace {

template <class T>
std::vector<int64_t> whole_numbers(const StoredTensor& tensor) {
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor.bytes.data(), values.size() * sizeof(T));
  return {values.begin(), values.end()};
}

// Of a vector of whole numbers, each in [0, limit).
std::vector<int64_t> read_numbers(const SafetensorsSet& set, const StoredTensor& tensor, int64_t limit) {
  check((tensor.type == StoredType::kI32 || tensor.type == StoredType::kI64) && tensor.shape.rank() == 1,
        Code::kInvalidArgument, "{} is {} {}; expected I32 or I64 of one dimension", set.describe(tensor),
        spelling(tensor.type), to_string(tensor.shape));
  std::vector<int64_t> values =
      tensor.type == StoredType::kI32 ? whole_numbers<int32_t>(tensor) : whole_numbers<int64_t>(tensor);
  for (size_t i = 0; i < values.size(); ++i)
    check(values[i] >= 0 && values[i] < limit, Code::kInvalidArgument, "{}: number {} is {}; from 0 to {}",
          set.describe(tensor), i, values[i], limit - 1);
  return values;
}

GoldenText read_text(const std::shared_ptr<const SafetensorsSet>& set, const StoredTensor& logits, int64_t vocabulary,
                     std::span<const int32_t> ids) {
  const std::string prefix = logits.name.substr(0, logits.name.size() - std::string_view("logits").size());
  GoldenText text{.name = prefix.substr(0, prefix.empty() ? 0 : prefix.size() - 1), .ids = {ids.begin(), ids.end()}};
  if (const StoredTensor* own = set->find(prefix + "ids")) {
    const std::vector<int64_t> numbers = read_numbers(*set, *own, vocabulary);
    text.ids.assign(numbers.begin(), numbers.end());
  }
  const auto tokens = static_cast<int64_t>(text.ids.size());
  if (const StoredTensor* positions = set->find(prefix + "positions")) {
    text.positions = read_numbers(*set, *positions, tokens);
    check(std::ranges::adjacent_find(text.positions, std::greater_equal()) == text.positions.end(),
          Code::kInvalidArgument, "{}: positions do not ascend", set->describe(*positions));
  } else {
    text.positions.resize(text.ids.size());
    std::iota(text.positions.begin(), text.positions.end(), int64_t{0});
  }
  const auto rows = static_cast<int64_t>(text.positions.size());
  check(logits.type == StoredType::kF32 && logits.shape == Shape({rows, vocabulary}) && rows > 0,
        Code::kInvalidArgument, "{} is {} {}; expected F32 [{}, {}], for a text of {} tokens", set->describe(logits),
        spelling(logits.type), to_string(logits.shape), rows, vocabulary, tokens);
  text.logits = logits.bytes;
  text.file = set;
  return text;
}

}  // namespace

void GoldenText::read(size_t row, std::span<float> values) const {
  std::memcpy(values.data(), logits.data() + row * values.size_bytes(), values.size_bytes());
}

std::vector<GoldenText> read_golden(const std::string& path, int64_t vocabulary, std::span<const int32_t> ids) {
  const auto set = SafetensorsSet::open(path);
  std::vector<GoldenText> texts;
  for (const StoredTensor& tensor : set->tensors())
    if (tensor.name == "logits" || tensor.name.ends_with(".logits"))
      texts.push_back(read_text(set, tensor, vocabulary, ids));
  check(!texts.empty(), Code::kInvalidArgument, "{}: there is no tensor 'logits' or 'NAME.logits'", path);
  return texts;
}

}  // namespace v4rt
