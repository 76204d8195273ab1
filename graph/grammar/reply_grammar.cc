#include "graph/grammar/reply_grammar.h"

#include <list>

#include "graph/grammar/json_schema.h"
#include "loaders/files/json_file.h"

namespace v4rt {
namespace {

using Label = Grammar::Label;

ByteSet byte(uint8_t one) { return byte_range(one, one); }
ByteSet text_bytes() { return byte_range(0, kOtherToken - 1); }

class ReplyGrammar {
 public:
  explicit ReplyGrammar(const ReplyRules& rules) : rules_(rules), json_(builder_) {}

  Grammar write() {
    end_ = builder_.declare();
    builder_.define(end_, builder_.either(builder_.bytes(byte(kEndToken), end_), GrammarBuilder::kReturn));
    const Label content = write_content();
    for (JsonSchema& schema : schemas_) schema.resolve();
    return builder_.finish(rules_.thinking ? reasoning(content) : content,
                           rules_.schema ? rules_.schema->place() : "tools");
  }

 private:
  Label reasoning(Label next) {
    const Label place = builder_.declare();
    const ByteSet any = ByteSet().set() & ~byte(kEndToken) & ~byte(kEndThinkByte) & ~byte(kDsmlByte);
    const Label over = builder_.bytes(byte(kEndThinkByte), next);
    builder_.define(place, builder_.either(builder_.bytes(any, place, kAnyRun), over));
    return place;
  }

  Label write_content() {
    if (rules_.must_call) return builder_.literal("\n\n", calls());
    if (rules_.schema) {
      schemas_.emplace_back(*rules_.schema, builder_, json_);
      const Label json = builder_.call(schemas_.back().value(), end_);
      return rules_.tools.empty() ? json : builder_.either(json, builder_.literal("\n\n", calls()));
    }
    const Label place = builder_.declare();
    const Label branches[] = {builder_.bytes(text_bytes(), place, kAnyRun), calls(), end_};
    builder_.define(place, builder_.either(branches));
    return place;
  }

  Label tag(std::string_view begin, std::string_view rest, Label next) {
    return builder_.literal(begin, builder_.bytes(byte(kDsmlByte), builder_.literal(rest, next)));
  }

  Label calls() {
    const Label call = builder_.declare();
    const Label over = builder_.either(call, tag("</", "tool_calls>", end_));
    const Label called = builder_.literal("\n", tag("</", "invoke>\n", over));
    std::vector<Label> tools;
    for (const ReplyRules::Tool& tool : rules_.tools) {
      const Label parameters = tool.strict ? strict_parameters(tool, called) : any_parameters(called);
      tools.push_back(builder_.literal(tool.name + "\">\n", parameters));
    }
    builder_.define(call, tag("<", "invoke name=\"", builder_.either(tools)));
    return tag("<", "tool_calls>\n", call);
  }

  Label strict_parameters(const ReplyRules::Tool& tool, Label next) {
    if (!tool.parameters.present()) return next;
    if (const JsonField type = tool.parameters["type"]; type.present() && type.string() != "object")
      type.refuse("\"object\"");
    JsonSchema& schema = schemas_.emplace_back(tool.parameters, builder_, json_);
    const std::vector<JsonSchema::Property> properties = schema.properties();
    Label after = next, first = next;  // a parameter was written; none was
    for (size_t i = properties.size(); i-- > 0;) {
      const JsonSchema::Property& property = properties[i];
      check(property.name.find_first_of("\"&<>\n") == std::string::npos, Code::kInvalidArgument,
            "{}: the parameter {} has a name that calls cannot hold", tool.parameters.place(),
            printable(property.name));
      const JsonSchema::Branches value = schema.parameter(property.schema, tag("</", "parameter>", after));
      std::vector<Label> kinds;
      if (value.text >= 0) kinds.push_back(builder_.literal("true\">", value.text));
      if (value.json >= 0) kinds.push_back(builder_.literal("false\">", value.json));
      const Label one = tag("<", "parameter name=\"" + property.name + "\" string=\"", builder_.either(kinds));
      const Label later = builder_.literal("\n", one);
      first = property.required ? one : builder_.either(one, first);
      after = property.required ? later : builder_.either(later, after);
    }
    return first;
  }

  Label any_parameters(Label next) {
    const Label after = builder_.declare(), end = tag("</", "parameter>", after);
    const Label text = builder_.literal("true\">", json_.characters(0, JsonGrammar::kNoEnd, false, end));
    const Label json = builder_.literal("false\">", builder_.call(json_.value(), end));
    const Label kinds = builder_.literal("\" string=\"", builder_.either(text, json)), name = builder_.declare();
    const ByteSet ascii = byte_range(' ', '~') & ~byte_set("\"<>");  // of a name
    const Label more = builder_.either(name, kinds);
    builder_.define(name, builder_.either(builder_.bytes(ascii, more), json_.long_character(more)));
    const Label one = tag("<", "parameter name=\"", name);
    builder_.define(after, builder_.either(builder_.literal("\n", one), next));
    return builder_.either(one, next);
  }

  const ReplyRules& rules_;
  GrammarBuilder builder_;
  JsonGrammar json_;
  std::list<JsonSchema> schemas_;
  Label end_ = 0;
};

}  // namespace

std::shared_ptr<const Grammar> reply_grammar(const ReplyRules& rules) {
  return std::make_shared<const Grammar>(ReplyGrammar(rules).write());
}

}  // namespace v4rt
