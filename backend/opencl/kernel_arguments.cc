#include "backend/opencl/kernel_arguments.h"

#include <fmt/format.h>

#include "ops/core/error.h"

namespace v4rt {
namespace {

constexpr std::string_view kMarker = "\nKERNEL void ";

// The parts of `list` between its commas, those within parentheses left alone.
std::vector<std::string_view> split(std::string_view list) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  int depth = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i] == '(') ++depth;
    if (list[i] == ')') --depth;
    if (list[i] != ',' || depth != 0) continue;
    parts.push_back(list.substr(begin, i - begin));
    begin = i + 1;
  }
  parts.push_back(list.substr(begin));
  return parts;
}

size_t closing(std::string_view text, size_t open) {
  int depth = 0;
  for (size_t i = open; i < text.size(); ++i) {
    if (text[i] == '(') ++depth;
    if (text[i] == ')' && --depth == 0) return i;
  }
  fail(Code::kInternal, "a kernel's list of arguments does not end");
}

}  // namespace

std::vector<Parameter> parameters_of(std::string_view source, std::string_view head) {
  const size_t at = source.find(head);
  check(at != std::string_view::npos, Code::kInternal, "no function begins with '{}'", head);
  const size_t open = at + head.size() - 1;
  std::vector<Parameter> parameters;
  for (std::string_view one : split(source.substr(open + 1, closing(source, open) - open - 1))) {
    one.remove_prefix(one.find_first_not_of(" \n"));
    const size_t star = one.find('*'), name = one.rfind(' ');
    const bool pointer = star != std::string_view::npos;
    parameters.push_back({.type = std::string(one.substr(0, pointer ? star + 1 : name)),
                          .name = std::string(one.substr(name + 1)),
                          .restricted = one.find("restrict") != std::string_view::npos});
  }
  return parameters;
}

std::string with_buffer_offsets(std::string_view source) {
  std::string out;
  for (size_t at = source.find(kMarker); at != std::string_view::npos; at = source.find(kMarker)) {
    const size_t open = source.find('(', at), close = closing(source, open), body = source.find('{', close) + 1;
    std::string arguments, pointers;
    for (const std::string_view argument : split(source.substr(open + 1, close - open - 1))) {
      if (!arguments.empty()) arguments += ",";
      const size_t star = argument.find('*');
      if (star == std::string_view::npos) {
        arguments += argument;
        continue;
      }
      const std::string_view type = argument.substr(0, star + 1), name = argument.substr(argument.rfind(' ') + 1);
      const bool constant = type.find("const") != std::string_view::npos;
      const bool alone = argument.find("restrict") != std::string_view::npos;
      arguments += fmt::format("__global {}uchar*{} {}_buffer, ulong {}_offset", constant ? "const " : "",
                               alone ? " restrict" : "", name, name);
      pointers += fmt::format("{} {} = ({})({}_buffer + {}_offset);", type, name, type, name, name);
    }
    out += fmt::format("{}({}) {{{}", source.substr(0, open), arguments, pointers);
    source.remove_prefix(body);
  }
  return out.append(source);
}

namespace {

// The text with each kernel replaced by what `edit` makes of it, name first.
template <class Edit>
std::string edited(std::string_view source, const Edit& edit) {
  constexpr std::string_view kEnd = "\n}";  // of a function, at the beginning of a line: nothing within is there
  std::string out;
  for (size_t at = source.find(kMarker); at != std::string_view::npos; at = source.find(kMarker)) {
    const size_t end = source.find(kEnd, at);
    check(end != std::string_view::npos, Code::kInternal, "a kernel does not end");
    const std::string_view kernel = source.substr(at, end + kEnd.size() - at);
    const std::string_view name = kernel.substr(kMarker.size(), kernel.find('(') - kMarker.size());
    out += source.substr(0, at);
    out += edit(kernel, name);
    source.remove_prefix(end + kEnd.size());
  }
  return out.append(source);
}

}  // namespace

std::string with_one_kernel(std::string_view source, std::string_view name) {
  return edited(source, [&](std::string_view kernel, std::string_view its) { return its == name ? kernel : ""; });
}

std::string with_end(std::string_view source, std::string_view name, std::string_view arguments,
                     std::string_view statements) {
  return edited(source, [&](std::string_view kernel, std::string_view its) {
    if (its != name) return std::string(kernel);
    const size_t close = closing(kernel, kernel.find('('));
    const std::string_view head = kernel.substr(0, close), rest = kernel.substr(close, kernel.size() - 1 - close);
    return fmt::format("{}{}{}{}}}", head, arguments, rest, statements);
  });
}

}  // namespace v4rt
