#include "loaders/safetensors/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "loaders/files/json_file.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;

struct TypeRow {
  std::string_view spelling;
  int bits;
};
constexpr std::array<TypeRow, 17> kTypes{{{"BOOL", 8},
                                          {"U8", 8},
                                          {"I8", 8},
                                          {"F4", 4},
                                          {"F8_E4M3", 8},
                                          {"F8_E5M2", 8},
                                          {"F8_E8M0", 8},
                                          {"I16", 16},
                                          {"U16", 16},
                                          {"F16", 16},
                                          {"BF16", 16},
                                          {"I32", 32},
                                          {"U32", 32},
                                          {"F32", 32},
                                          {"F64", 64},
                                          {"I64", 64},
                                          {"U64", 64}}};

// A tensor as the header describes it; only JSON types are checked.
struct Stated {
  std::string name, dtype;
  std::vector<uint64_t> shape, offsets;
  bool has_dtype = false, has_shape = false, has_offsets = false;
};

// Reads the header in one pass without building a document, and refuses whatever is not in the format:
// { name: {"dtype": string, "shape": [n...], "data_offsets": [begin, end]}, "__metadata__": {string: string} }.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(std::string_view source) : source_(source) {}
  std::vector<Stated> take() { return std::move(stated_); }

  bool null() override { refuse("null"); }
  bool boolean(bool) override { refuse("a boolean"); }
  bool number_integer(number_integer_t v) override { refuse(fmt::format("the number {}", v)); }
  bool number_float(number_float_t, const string_t& text) override { refuse("the number " + printable(text)); }
  bool binary(binary_t&) override { refuse("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (numbers_ == nullptr) refuse(fmt::format("the number {}", value));
    numbers_->push_back(value);
    return true;
  }
  bool string(string_t& value) override {
    if (depth_ == 2 && in_metadata_) return true;
    if (depth_ != 2 || field_ != "dtype") refuse("a string");
    stated_.back().dtype = std::move(value);
    return true;
  }
  bool start_object(size_t) override {
    if (depth_ > 1 || numbers_ != nullptr) refuse("an object");
    ++depth_;
    if (depth_ == 2 && !in_metadata_) stated_.emplace_back().name = name_;
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool key(string_t& value) override {
    if (depth_ == 1) {
      name_ = std::move(value);
      in_metadata_ = name_ == "__metadata__";
      return true;
    }
    field_ = std::move(value);
    if (in_metadata_) return true;
    Stated& t = stated_.back();
    bool* seen = field_ == "dtype"          ? &t.has_dtype
                 : field_ == "shape"        ? &t.has_shape
                 : field_ == "data_offsets" ? &t.has_offsets
                                            : nullptr;
    check(seen != nullptr, Code::kCorrupt, "{}: tensor '{}': unknown field '{}'", source_, printable(name_),
          printable(field_));
    check(!*seen, Code::kCorrupt, "{}: tensor '{}': field '{}' appears twice", source_, printable(name_), field_);
    *seen = true;
    return true;
  }
  bool start_array(size_t) override {
    if (depth_ != 2 || in_metadata_ || numbers_ != nullptr || field_ == "dtype") refuse("an array");
    numbers_ = field_ == "shape" ? &stated_.back().shape : &stated_.back().offsets;
    return true;
  }
  bool end_array() override {
    numbers_ = nullptr;
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    fail(Code::kCorrupt, "{}: the header is not valid JSON at byte {}; the file is damaged, fetch it again", source_,
         position);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    if (depth_ == 0) fail(Code::kCorrupt, "{}: the header is not a JSON object but {}", source_, what);
    const std::string field = depth_ == 2 ? fmt::format(", field '{}'", printable(field_)) : std::string();
    fail(Code::kCorrupt, "{}: header entry '{}'{}: {} is not possible there", source_, printable(name_), field, what);
  }

  std::string_view source_;
  std::vector<Stated> stated_;
  std::string name_, field_;
  int depth_ = 0;  // objects open
  bool in_metadata_ = false;
  std::vector<uint64_t>* numbers_ = nullptr;  // the open array
};

// Turns a description into a view, checking it against the data area.
class Checker {
 public:
  Checker(std::string_view source, std::span<const std::byte> data) : source_(source), data_(data) {}

  StoredTensor view(const Stated& t) const {
    require(t, t.has_dtype && t.has_shape && t.has_offsets, "the header lacks dtype, shape or data_offsets");
    const StoredType type = stored_type(t);
    const Shape shape = checked_shape(t);
    require(t, t.offsets.size() == 2, "data_offsets must hold two numbers");
    const uint64_t begin = t.offsets[0], end = t.offsets[1];
    require(t, begin <= end, "data_offsets end before they begin");
    check(end <= data_.size(), Code::kCorrupt,
          "{}: tensor '{}': data ends at byte {} of a data area of {} bytes; the file is cut short, fetch it again",
          source_, printable(t.name), end, data_.size());
    const uint64_t bytes = size_of(t, type);
    check(end - begin == bytes, Code::kCorrupt, "{}: tensor '{}': {} {} takes {} bytes, but its data_offsets span {}",
          source_, printable(t.name), spelling(type), to_string(shape), bytes, end - begin);
    return {t.name, type, shape, data_.subspan(begin, bytes), 0};
  }

  // Sorted tensors must fill the data area: no overlap, no hole, nothing left over.
  void check_cover(const std::vector<StoredTensor>& sorted) const {
    size_t at = 0;
    const StoredTensor* previous = nullptr;
    for (const StoredTensor& t : sorted) {
      const auto begin = static_cast<size_t>(t.bytes.data() - data_.data());
      check(begin >= at, Code::kCorrupt, "{}: tensors '{}' and '{}' overlap", source_,
            printable(previous == nullptr ? "" : previous->name), printable(t.name));
      check(begin == at, Code::kCorrupt, "{}: {} bytes before tensor '{}' belong to no tensor", source_, begin - at,
            printable(t.name));
      at = begin + t.bytes.size();
      previous = &t;
    }
    check(at == data_.size(), Code::kCorrupt,
          "{}: the tensors end at byte {} of a data area of {} bytes; header and data do not match", source_, at,
          data_.size());
  }

 private:
  void require(const Stated& t, bool ok, std::string_view fact) const {
    check(ok, Code::kCorrupt, "{}: tensor '{}': {}", source_, printable(t.name), fact);
  }

  StoredType stored_type(const Stated& t) const {
    for (size_t i = 0; i < kTypes.size(); ++i) {
      if (kTypes[i].spelling == t.dtype) return static_cast<StoredType>(i);
    }
    fail(Code::kUnsupported, "{}: tensor '{}': unknown dtype '{}'", source_, printable(t.name), printable(t.dtype));
  }

  Shape checked_shape(const Stated& t) const {
    check(t.shape.size() <= 4, Code::kUnsupported, "{}: tensor '{}': {} dimensions; at most 4 are supported", source_,
          printable(t.name), t.shape.size());
    std::array<int64_t, 4> dims{};
    for (size_t i = 0; i < t.shape.size(); ++i) {
      require(t, t.shape[i] <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()),
              "a dimension exceeds 63 bits");
      dims[i] = static_cast<int64_t>(t.shape[i]);
    }
    return Shape(std::span<const int64_t>(dims.data(), t.shape.size()));
  }

  uint64_t size_of(const Stated& t, StoredType type) const {
    uint64_t size = static_cast<uint64_t>(bits(type));
    bool overflow = false;
    for (uint64_t d : t.shape) overflow = __builtin_mul_overflow(size, d, &size) || overflow;
    require(t, !overflow, "the product of its dimensions overflows");
    require(t, size % 8 == 0, "its elements do not fill whole bytes");
    return size / 8;
  }

  std::string_view source_;
  std::span<const std::byte> data_;
};

void check_names(const std::vector<StoredTensor>& tensors, std::string_view source) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const StoredTensor& t : tensors) names.push_back(t.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end())
    fail(Code::kCorrupt, "{}: tensor '{}' appears twice in the header", source, printable(*twice));
}

}  // namespace

std::string_view spelling(StoredType type) { return kTypes[static_cast<size_t>(type)].spelling; }
int bits(StoredType type) { return kTypes[static_cast<size_t>(type)].bits; }

std::vector<StoredTensor> parse_safetensors(std::span<const std::byte> file, std::string_view source) {
  check(file.size() >= 8, Code::kCorrupt,
        "{}: is {} bytes long; a safetensors file begins with an 8-byte header length", source, file.size());
  uint64_t length = 0;
  for (size_t i = 0; i < 8; ++i) length |= std::to_integer<uint64_t>(file[i]) << (8 * i);
  check(length <= kMaxHeader, Code::kCorrupt,
        "{}: the header claims {} bytes, more than the limit of {}; not a safetensors file", source, length,
        kMaxHeader);
  check(length <= file.size() - 8, Code::kCorrupt,
        "{}: the header claims {} bytes, the file has {} after the length; it is cut short", source, length,
        file.size() - 8);
  const std::string_view header(reinterpret_cast<const char*>(file.data()) + 8, length);
  check(header.starts_with('{'), Code::kCorrupt, "{}: the header does not begin with '{{'; not a safetensors file",
        source);

  HeaderReader reader(source);
  nlohmann::json::sax_parse(header, &reader);
  const Checker checker(source, file.subspan(8 + length));
  std::vector<StoredTensor> tensors;
  for (const Stated& stated : reader.take()) tensors.push_back(checker.view(stated));
  check_names(tensors, source);
  // An empty tensor sorts before another one at the same offset.
  std::sort(tensors.begin(), tensors.end(), [](const StoredTensor& a, const StoredTensor& b) {
    return std::pair(a.bytes.data(), a.bytes.size()) < std::pair(b.bytes.data(), b.bytes.size());
  });
  checker.check_cover(tensors);
  return tensors;
}

}  // namespace v4rt
