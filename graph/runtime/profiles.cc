#include "graph/runtime/profiles.h"

#include <algorithm>
#include <filesystem>

#include "loaders/files/json_fields.h"

namespace v4rt {
namespace {

// {"value": 256, "source": "..."}; 0 when the key is absent.
size_t limit(const Fields& f, std::string_view key) {
  if (f.find(key) == nullptr) return 0;
  const Fields entry = f.child(key);
  (void)entry.text("source");
  const int64_t value = entry.integer("value", 1, int64_t{1} << 60);
  entry.check_all_known();
  return static_cast<size_t>(value);
}

// Entries of an array of texts, each turned into what has that name.
template <class T>
std::vector<T> named(const Fields& f, std::string_view key, T count, std::string_view (*name_of)(T)) {
  const Json& list = f.require(key);
  check(list.is_array() && !list.array().empty(), Code::kCorrupt, "{}: '{}' is {}; expected a list of names",
        f.source(), key, shown(list));
  std::vector<T> found;
  for (const Json& entry : list.array()) {
    int i = 0;
    while (i < static_cast<int>(count) && !(entry.is_string() && entry.string() == name_of(static_cast<T>(i)))) ++i;
    check(i < static_cast<int>(count), Code::kCorrupt, "{}: '{}': there is no {}", f.source(), key, shown(entry));
    found.push_back(static_cast<T>(i));
  }
  return found;
}

std::vector<DType> types(const Fields& f, std::string_view key) {
  constexpr auto kCount = static_cast<DType>(static_cast<int>(DType::kFp4) + 1);
  return named<DType>(f, key, kCount, [](DType type) { return info(type).name; });
}

DeviceProfile::Rule parse_rule(const Fields& f) {
  DeviceProfile::Rule rule{.ops = named<OpKind>(f, "ops", OpKind::kCount, &name),
                           .refused = f.find("refused") != nullptr ? f.text("refused") : "",
                           .types = f.find("types") != nullptr ? types(f, "types") : std::vector<DType>(),
                           .multiple = f.integer("multiple", 1, 1 << 20, 1)};
  (void)f.text("source");
  f.check_all_known();
  return rule;
}

}  // namespace

DeviceProfile parse_profile(std::string_view text, const std::string& source) {
  const Json object = parse_json(text, source);
  const Fields f(object, source);
  DeviceProfile profile{.name = f.text("name"), .description = f.text("description")};
  check(!profile.name.empty() &&
            profile.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos,
        Code::kCorrupt, "{}: 'name' is {}; expected small letters, digits and hyphens", source,
        printable(profile.name));
  profile.max_allocation = limit(f, "max_allocation");
  profile.memory = limit(f, "memory");
  profile.max_group = limit(f, "max_group");
  profile.local_memory = limit(f, "local_memory");
  profile.row_bytes = limit(f, "row_bytes");
  if (const size_t rank = limit(f, "max_rank"); rank > 0)
    profile.max_rank = static_cast<int>(std::min<size_t>(rank, 4));
  if (f.find("types") != nullptr) {
    const Fields entry = f.child("types");
    profile.types = types(entry, "value");
    (void)entry.text("source");
    entry.check_all_known();
  }
  if (const Json* list = f.find("ops")) {
    check(list->is_array(), Code::kCorrupt, "{}: 'ops' is {}; expected a list", source, shown(*list));
    for (size_t i = 0; i < list->array().size(); ++i)
      profile.rules.push_back(parse_rule({list->array()[i], fmt::format("{}: 'ops' {}", source, i)}));
  }
  f.check_all_known();
  return profile;
}

DeviceProfile read_profile(const std::string& name) {
  std::string names;
  for (const ProfileFile& file : built_in_profiles()) {
    if (file.name == name) return parse_profile(file.text, name);
    names += fmt::format("{}{}", names.empty() ? "" : ", ", file.name);
  }
  std::error_code error;
  check(std::filesystem::exists(name, error), Code::kNotFound,
        "there is no profile '{}' and no such file; there are {}, and backend/profiles/schema.json says what a file "
        "holds",
        printable(name), names);
  return parse_profile(read_text_file(name), name);
}

std::shared_ptr<Device> create_profiled_device(std::string_view name, const DeviceOptions& options) {
  const size_t plus = name.find('+');
  if (plus == std::string_view::npos) return create_device(name, options);
  DeviceProfile profile = read_profile(std::string(name.substr(plus + 1)));
  DeviceOptions limited = options;
  limited.max_group = profile.max_group;
  limited.local_memory = profile.local_memory;
  return create_profiled_device(create_device(name.substr(0, plus), limited), std::move(profile));
}

}  // namespace v4rt
