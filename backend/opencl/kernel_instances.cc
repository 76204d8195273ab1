#include "backend/opencl/kernel_instances.h"

#include <fmt/format.h>

#include <cctype>
#include <set>

namespace v4rt {
namespace {

std::string_view word_at(std::string_view text, size_t at) {
  size_t end = at;
  while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) != 0 || text[end] == '_')) ++end;
  return text.substr(at, end - at);
}

struct Names {
  std::set<std::string_view> functions_and_types, macros;
};

// What a line that begins with `head` names after it.
void add_name(std::string_view line, Names& names) {
  const auto after = [&](std::string_view head) { return word_at(line, head.size()); };
  if (line.starts_with("#define ")) {
    names.macros.insert(after("#define "));
  } else if (line.starts_with("EM_FN ")) {
    const std::string_view head = line.substr(0, line.find('('));
    names.functions_and_types.insert(after(line.substr(0, head.rfind(' ') + 1)));
  } else if (line.starts_with("DEFINE_")) {  // a macro that defines the function that it is given the name of
    names.functions_and_types.insert(after(line.substr(0, line.find('(') + 1)));
  } else if (line.starts_with("} ")) {  // of a struct
    names.functions_and_types.insert(after("} "));
  } else if (line.starts_with("typedef ") && !line.ends_with('{')) {
    const size_t type = line.find(' ') + 1;
    names.functions_and_types.insert(after(line.substr(0, line.find(' ', type) + 1)));
  }
}

}  // namespace

std::string instance_of(std::string_view text, std::span<const std::string> definitions, std::string_view suffix) {
  Names names;
  for (size_t at = 0; at < text.size(); at = text.find('\n', at), at = at == text.npos ? text.size() : at + 1)
    add_name(text.substr(at, text.find('\n', at) - at), names);
  std::string before, after;
  for (const std::string& definition : definitions) {
    const size_t equals = definition.find('=');
    const std::string_view name = std::string_view(definition).substr(0, equals);
    before += fmt::format("#undef {0}\n#define {0} {1}\n", name,
                          equals == definition.npos ? "1" : definition.substr(equals + 1));
    names.macros.insert(name);
  }
  for (const std::string_view name : names.functions_and_types)
    before += fmt::format("#define {0} {0}{1}\n", name, suffix);
  for (const auto* all : {&names.functions_and_types, &names.macros})
    for (const std::string_view name : *all) after += fmt::format("#undef {}\n", name);
  return fmt::format("{}{}\n{}", before, text, after);
}

}  // namespace v4rt
