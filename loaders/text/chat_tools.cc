#include "loaders/text/chat_tools.h"

#include <algorithm>

#include "loaders/files/json_file.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

constexpr std::string_view kToolsBefore = R"(

## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by writing a "<｜DSML｜tool_calls>" block like the following:

<｜DSML｜tool_calls>
<｜DSML｜invoke name="$TOOL_NAME">
<｜DSML｜parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</｜DSML｜parameter>
...
</｜DSML｜invoke>
<｜DSML｜invoke name="$TOOL_NAME2">
...
</｜DSML｜invoke>
</｜DSML｜tool_calls>

String parameters should be specified as is and set `string="true"`. For all other types (numbers, booleans, arrays, objects), pass the value in JSON format and set `string="false"`.

If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning inside <think>...</think> BEFORE any tool calls or final response.

Otherwise, output directly after </think> with tool calls or final response.

### Available Tool Schemas

)";
constexpr std::string_view kToolsAfter =
    "\n\nYou MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.\n";
constexpr std::string_view kCallsBefore = "\n\n<｜DSML｜tool_calls>\n";

// The parameters of a call: those of an object, none for nothing, and whatever else as one.
Json::Object parameters(const std::string& arguments) {
  if (arguments.empty()) return {};
  try {
    const Json object = parse_request_json(arguments, "arguments");
    if (object.is_object()) return object.object();
    if (object.is_null()) return {};
  } catch (const Error&) {
  }
  return {{"arguments", arguments}};
}

void write_parameter(std::string_view name, const Json& value, ChatWriter& out) {
  out.markup("<｜DSML｜parameter name=\"");
  out.text(name);
  out.text(value.is_string() ? "\" string=\"true\">" : "\" string=\"false\">");
  out.text(value.is_string() ? value.string() : value.python());
  out.markup("</｜DSML｜parameter>");
}

}  // namespace

void ChatWriter::markup(std::string_view markup) {
  while (!markup.empty()) {
    size_t at = markup.size();
    std::string_view token;
    for (const std::string_view known : {kDsmlToken, kThinkToken, kEndThinkToken}) {
      const size_t found = markup.find(known);
      if (found >= at) continue;
      at = found;
      token = known;
    }
    text(markup.substr(0, at));
    if (!token.empty()) control(token);
    markup.remove_prefix(at + token.size());
  }
}

void write_tools(const std::vector<std::string>& tools, ChatWriter& out) {
  out.markup(kToolsBefore);
  for (size_t i = 0; i < tools.size(); ++i) {
    if (i > 0) out.text("\n");
    out.text(tools[i]);
  }
  out.text(kToolsAfter);
}

void write_calls(const std::vector<ToolCall>& calls, ChatWriter& out) {
  if (calls.empty()) return;
  out.markup(kCallsBefore);
  for (const ToolCall& call : calls) {
    out.markup("<｜DSML｜invoke name=\"");
    out.text(call.name);
    out.text("\">\n");
    std::string_view separator;
    for (const auto& [name, value] : parameters(call.arguments)) {
      out.text(separator);
      write_parameter(name, value, out);
      separator = "\n";
    }
    out.markup("\n</｜DSML｜invoke>\n");
  }
  out.markup("</｜DSML｜tool_calls>");
}

std::vector<TextPart> call_opening() {
  ChatWriter out;
  out.markup(kCallsBefore);
  out.markup("<｜DSML｜invoke name=\"");
  return out.take();
}

void write_response_format(std::string_view schema, ChatWriter& out) {
  out.text("\n\n## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n");
  out.text(schema);
}

}  // namespace v4rt
