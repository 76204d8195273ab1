#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "graph/grammar/automaton.h"
#include "graph/grammar/reply_grammar.h"
#include "graph/grammar/token_matcher.h"
#include "graph/runtime/sampler.h"
#include "loaders/files/json_file.h"
#include "tests/unit/graph/alloc_count.h"

namespace v4rt {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<const Tokenizer> tokenizer() {
  static const auto kTokenizer = Tokenizer::open(V4RT_SOURCE_DIR "/examples/models/v4-mini/tokenizer.json");
  return kTokenizer;
}
constexpr int32_t kEnd = 1;
constexpr int64_t kVocab = 2048;

std::shared_ptr<const TokenTrie> trie() {
  static const auto kTrie = std::make_shared<const TokenTrie>(*tokenizer(), kVocab, std::span(&kEnd, 1));
  return kTrie;
}

Json parse(const std::string& text) { return parse_request_json(text, "the test"); }

std::shared_ptr<const Grammar> grammar_of(const std::string& schema) {
  const Json json = parse(schema);
  return reply_grammar({.schema = JsonField(json, "schema")});
}

// Whether the reply may be this text, ended. \xff and its neighbours stand for control tokens.
bool takes(const std::shared_ptr<const Grammar>& grammar, const std::string& text) {
  Automaton automaton(grammar);
  Automaton::State state = automaton.begin();
  for (const char byte : text + static_cast<char>(kEndToken)) {
    state = automaton.next(state, static_cast<uint8_t>(byte));
    if (state == Automaton::kDead) return false;
  }
  return true;
}

struct Case {
  std::string schema;
  std::vector<std::string> valid, invalid;
};

TEST(Grammar, TakesWhatTheSchemaTakes) {
  const Case cases[] = {
      {"{}",
       {"{}", "[]", "3", "-0.5e+7", "\"a\"", "null", "[1, {\"a\": [ ]}]", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
       {"", "{", "[1,]", "01", "1.", ".5", "\"", "\"\x01\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "nul", "1 ", " 1",
        "\"\\x\""}},
      {R"({"type":"string"})",
       {R"("\u00e9\n\"\\")", R"("\ud83d\ude00")", R"("")"},
       {R"("\ud83d")", R"("\ude00")", R"("\ud83dx")", "3"}},
      {R"({"type":"string","minLength":2,"maxLength":3})", {R"("ab")", R"("\n\u00e9€")"}, {R"("a")", R"("abcd")"}},
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"boolean"},"c":{"type":"null"}},"required":["b"]})",
       {R"({"b":true})", R"({"a": 1, "b": false})", "{\n  \"b\": true,\n  \"c\": null\n}"},
       {"{}", R"({"a":1})", R"({"b":true,"a":1})", R"({"b":true,"d":1})", R"({"a":1.5,"b":true})", R"({"b":true,})"}},
      {R"({"type":"object","properties":{"ab":{"type":"integer"}},"additionalProperties":{"type":"string"}})",
       {"{}", R"({"ab":1})", R"({"ab":1,"c":"x"})", R"({"a":"x","abc":"","":"","b\n":""})", R"({"é":""})"},
       {R"({"ab":"x"})", R"({"c":1})", R"({"c":"","ab":1})", R"({"\u0061b":"x"})", R"({"a\u0062":"x"})"}},
      {R"({"type":"object"})", {"{}", R"({"x":[{}]})"}, {"[]", "3"}},
      {R"({"type":"object","additionalProperties":false})", {"{}", "{ }"}, {R"({"x":1})"}},
      {R"({"required":["x"]})", {R"({"x":1})"}, {"{}"}},
      {R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})",
       {"[1]", "[1,2, 3]"},
       {"[]", "[1,2,3,4]", "[\"a\"]"}},
      {R"({"prefixItems":[{"type":"integer"},{"type":"string"}],"items":false,"minItems":2})",
       {R"([1,"a"])"},
       {"[1]", R"([1,"a",2])"}},
      {R"({"prefixItems":[{"type":"integer"}],"items":{"type":"null"}})",
       {"[]", "[1]", "[1,null,null]"},
       {"[null]", "[1,2]"}},
      {R"({"type":"null","title":"t","default":3,"x-order":1})", {"null"}, {"3"}},
      {R"({"type":"array","maxItems":0})", {"[]"}, {"[1]"}},
      {R"({"enum":["a",1,null,{"b":[1]}]})", {R"("a")", "1", "null", R"({"b": [1]})"}, {R"("b")", "2"}},
      {R"({"type":"string","enum":["a",1]})", {R"("a")"}, {"1"}},
      {R"({"const":"q\"\n"})", {R"("q\"\n")"}, {R"("q")"}},
      {R"({"type":["string","null"],"maxLength":1})", {"null", R"("a")"}, {R"("ab")", "1"}},
      {R"({"anyOf":[{"type":"integer"},{"$ref":"#/$defs/x"}],"$defs":{"x":{"type":"array","items":{"$ref":"#"}}}})",
       {"1", "[]", "[1,[2,[]]]"},
       {"null", "[null]"}},
      {R"({"allOf":[{"$ref":"#/definitions/a~1b"}],"definitions":{"a/b":{"const":7}}})", {"7"}, {"8"}},
      {R"({"type":"integer","minimum":-12,"maximum":105})",
       {"-12", "-9", "-1", "0", "7", "42", "99", "100", "105"},
       {"-13", "106", "110", "200", "1000", "05", "1.0", "--1"}},
      {R"({"type":"integer","exclusiveMinimum":0,"maximum":9.5})", {"1", "9"}, {"0", "10", "-1"}},
      {R"({"type":"integer","minimum":1000})", {"1000", "999999999999999"}, {"999", "-1000"}},
      {R"({"type":"number","minimum":0,"maximum":1})", {"0", "1", "0.25"}, {"1.5", "-0.1", "2"}},
      {R"({"type":"number","exclusiveMinimum":0,"exclusiveMaximum":1})", {"0.5", "0.001"}, {"0", "1", "0.0"}},
      {R"({"type":"string","pattern":"^[a-c]{2,3}(x|\\d+)?$"})",
       {R"("ab")", R"("abcx")", R"("ab123")"},
       {R"("a")", R"("abx1")", R"("")"}},
      {R"({"pattern":"b+"})", {R"("b")", R"("abbc")", R"("\n€b")"}, {R"("a")", R"("")"}},
      {R"({"pattern":"^a|b$"})", {R"("ax")", R"("xb")"}, {R"("xa")", R"("bx")"}},
      {R"({"pattern":"^[^a\"]\\.\\n\"é?.$"})",
       {R"("b.\n\"éx")", R"("€.\n\"€")"},
       {R"("a.\n\"x")", R"("b.n\"x")", R"("b.\n"x")"}},
      {R"({"pattern":"^(?:[\\w-]+/?)*$"})", {R"("")", R"("a-b/c_d")"}, {R"("a//b")"}},
      {R"({"type":"string","format":"date"})",
       {R"("2024-02-28")", R"("1999-12-31")"},
       {R"("2024-02-30")", R"("2024-04-31")", R"("24-1-1")"}},
      {R"({"format":"date-time"})",
       {R"("2024-01-30T23:59:59.5Z")", R"("2024-01-30T00:00:00+02:00")"},
       {R"("2024-01-30")", R"("2024-01-30T24:00:00Z")"}},
      {R"({"format":"uuid"})", {R"("123e4567-e89b-12d3-a456-426614174000")"}, {R"("123e4567")"}},
      {R"({"format":"email"})", {R"("ann.b@mail.example.org")"}, {R"("ann")", R"("@b.org")"}},
      {R"({"format":"ipv4"})", {R"("192.168.0.255")"}, {R"("192.168.0.256")", R"("1.2.3")"}},
      {R"({"format":"uri"})", {R"("https://example.org/a/b.html")"}, {R"("example")"}},
      {R"({"oneOf":[{"type":"string"},{"type":"integer"},{"const":null}]})", {R"("a")", "1", "null"}, {"true"}},
      {R"({"oneOf":[{"properties":{"k":{"const":"a"},"n":{"type":"null"}},"required":["k"]},{"$ref":"#/$defs/b"}],
           "discriminator":{"propertyName":"k"},"$defs":{"b":{"properties":{"k":{"enum":["b","c"]}},"required":["k"]}}})",
       {R"({"k":"a","n":null})", R"({"k":"c"})"},
       {R"({"k":"b","n":null})", R"({"k":"d"})"}},
      {R"({"type":"number","minimum":-2})", {"-2", "-1.5", "-0.5", "0", "3.75"}, {"-2.5", "-3"}},
  };
  for (const Case& c : cases) {
    const auto grammar = grammar_of(c.schema);
    for (const std::string& text : c.valid) EXPECT_TRUE(takes(grammar, text)) << c.schema << "\n" << text;
    for (const std::string& text : c.invalid) EXPECT_FALSE(takes(grammar, text)) << c.schema << "\n" << text;
  }
}

TEST(Grammar, WhiteSpaceEnds) {
  const auto grammar = grammar_of(R"({"type":"array"})");
  EXPECT_TRUE(takes(grammar, "[\n" + std::string(20, ' ') + "]"));
  EXPECT_FALSE(takes(grammar, "[\n" + std::string(21, ' ') + "]"));
  EXPECT_FALSE(takes(grammar, "[\n\n]"));
  EXPECT_FALSE(takes(grammar, "[  ]"));
  EXPECT_FALSE(takes(grammar, "[]\n"));
}

std::string refused(const std::string& schema) {
  try {
    grammar_of(schema);
    return "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::kInvalidArgument);
    return error.what();
  }
}

TEST(Grammar, RefusesWhatItCannotFollow) {
  EXPECT_EQ(refused(R"({"properties":{"a":{"type":"string","not":{}}}})"),
            "schema.properties.a: the keyword \"not\" is not supported");
  EXPECT_THAT(refused(R"({"oneOf":[{"type":"number"},{"type":"integer"}]})"), HasSubstr("may be of two schemas"));
  EXPECT_THAT(refused(R"({"oneOf":[{"type":"object"},{"required":["a"]}]})"), HasSubstr("may be of two schemas"));
  EXPECT_THAT(refused(R"({"oneOf":[{},{"const":1}]})"), HasSubstr("may be of two schemas"));
  for (const std::string wrong :
       {"(", "a)", "[", "*", "a{2", "a{3,2}", "(?=a)", "(?<!a)", "\\\\1", "\\\\b", "[é-ü]", "[b-a]", "a$b", "\\\\"})
    EXPECT_THAT(refused(R"({"pattern":")" + wrong + R"("})"), HasSubstr("schema.pattern: the pattern")) << wrong;
  EXPECT_THAT(refused(R"({"pattern":"a","maxLength":3})"), HasSubstr("only one is supported at a time"));
  EXPECT_THAT(refused(R"({"format":"secret"})"), HasSubstr("schema.format is \"secret\", not date"));
  EXPECT_THAT(refused(R"({"pattern":"((a{1000}){1000}){1000}"})"), HasSubstr("make it smaller"));
  EXPECT_EQ(refused(R"({"pattern":"((){1000000}){1000000}"})"), "no error");
  EXPECT_THAT(refused(R"({"anyOf":[{}],"type":"string"})"), HasSubstr("\"type\" is not supported beside anyOf"));
  EXPECT_THAT(refused(R"({"enum":[1],"minimum":3})"), HasSubstr("\"minimum\" is not supported beside enum"));
  EXPECT_THAT(refused(R"({"allOf":[{},{}]})"), HasSubstr("only an allOf of one schema"));
  EXPECT_THAT(refused(R"({"$ref":"http://example.org"})"), HasSubstr("a place in this schema"));
  EXPECT_THAT(refused(R"({"$ref":"#/$defs/none"})"), HasSubstr("nothing is there"));
  EXPECT_THAT(refused(R"({"$ref":"#"})"), HasSubstr("circles"));
  EXPECT_THAT(refused(R"({"type":"text"})"), HasSubstr("schema.type is \"text\""));
  EXPECT_THAT(refused(R"({"items":3})"), HasSubstr("schema.items is 3, not an object"));
  EXPECT_THAT(refused(R"({"minItems":-1})"), HasSubstr("minItems is -1"));
  EXPECT_THAT(refused(R"({"minItems":100000000})"), HasSubstr("make it smaller"));
  for (const std::string nothing :
       {"false", R"({"enum":[]})", R"({"type":"integer","minimum":2,"maximum":1})", R"({"minItems":2,"maxItems":1})",
        R"({"properties":{"a":{"$ref":"#"}},"required":["a"]})", R"({"required":["a"],"additionalProperties":false})"})
    EXPECT_THAT(refused(nothing), HasSubstr("nothing is valid")) << nothing;
}

// A nesting that nobody could close is not begun.
TEST(Grammar, NestsAsDeepAsItCanBeClosed) {
  for (const std::string schema : {R"({"type":"array","items":{"$ref":"#"}})", "{}"}) {
    Automaton automaton(grammar_of(schema));
    Automaton::State state = automaton.begin();
    int depth = 0;
    for (Automaton::State next; (next = automaton.next(state, '[')) != Automaton::kDead; ++depth) state = next;
    EXPECT_GE(depth, 60);
    EXPECT_LE(depth, kMaxGrammarDepth);
    for (; depth > 0; --depth) state = automaton.next(state, ']');
    EXPECT_NE(automaton.next(state, kEndToken), Automaton::kDead);
  }
}

TEST(Grammar, EndsWhenTooManyWaysAreOpen) {
  Automaton automaton(
      grammar_of(R"({"anyOf":[{"type":"array","items":{"$ref":"#"}},{"items":{"$ref":"#"},"minItems":0}]})"));
  Automaton::State state = automaton.begin();
  try {
    for (int i = 0; i < 100; ++i) state = automaton.next(state, '[');
    FAIL() << "went on";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("ways open at once"));
  }
}

TEST(Grammar, RepliesReasonThenAnswerOrCall) {
  const Json schema = parse(R"({"const":1})"), city = parse(R"({"type":"object","properties":{
      "city":{"type":"string"},"days":{"type":["integer","null"]},"unit":{"enum":["C","F",0]}},"required":["city"]})");
  const std::string think = "so \xfc {1 \xfe", open = "\n\n<\xfftool_calls>\n<\xffinvoke name=\"",
                    close = "\n</\xffinvoke>\n</\xfftool_calls>";
  const auto json = reply_grammar({.thinking = true, .schema = JsonField(schema, "")});
  EXPECT_TRUE(takes(json, think + "1"));
  EXPECT_FALSE(takes(json, think));
  EXPECT_FALSE(takes(json, "1"));
  EXPECT_FALSE(takes(json, think + open + "f\">\n" + close));

  ReplyRules rules{.tools = {{"f", JsonField(city, ""), true}, {"g", JsonField(city, "")}}};
  const std::string call = "f\">\n<\xffparameter name=\"city\" string=\"true\">Rome</\"\xc3\xa9\n</\xffparameter>";
  const auto text = reply_grammar(rules);
  EXPECT_TRUE(takes(text, "a < b"));
  EXPECT_TRUE(takes(text, "yes" + open + call + close));
  EXPECT_TRUE(takes(text, open + call + "\n<\xffparameter name=\"days\" string=\"false\">3</\xffparameter>" + close));
  EXPECT_TRUE(takes(text, open + call + "\n<\xffparameter name=\"unit\" string=\"true\">C</\xffparameter>" + close));
  EXPECT_TRUE(takes(text, open + call + "\n<\xffparameter name=\"unit\" string=\"false\">0</\xffparameter>" + close));
  EXPECT_TRUE(takes(
      text,
      open +
          "g\">\n<\xffparameter name=\"x\" string=\"false\">[1]</\xffparameter>\n</\xffinvoke>\n<\xffinvoke name=\"" +
          call + close));
  const std::string named = "\" string=\"true\">1</\xffparameter>";
  EXPECT_TRUE(takes(text, open + "g\">\n<\xffparameter name=\"$a b\xc3\xa9" + named + close));
  EXPECT_FALSE(takes(text, open + "g\">\n<\xffparameter name=\"" + named + close));
  EXPECT_FALSE(takes(text, open + "f\">\n" + close));  // without a city
  EXPECT_FALSE(takes(text, open + "h\">\n" + close));
  EXPECT_FALSE(takes(text, open + call + "\n<\xffparameter name=\"days\" string=\"true\">3</\xffparameter>" + close));
  EXPECT_FALSE(takes(text, open + call));
  EXPECT_FALSE(takes(text, "\xff"));
  rules.must_call = true;
  EXPECT_FALSE(takes(reply_grammar(rules), "yes"));
  EXPECT_TRUE(takes(reply_grammar(rules), open + call + close));
  rules.must_call = false;
  rules.schema = JsonField(schema, "");
  EXPECT_TRUE(takes(reply_grammar(rules), "1"));
  EXPECT_TRUE(takes(reply_grammar(rules), open + call + close));
  EXPECT_FALSE(takes(reply_grammar(rules), "text"));
}

// ---- Tokens.

constexpr char kMixed[] =
    R"({"type":"object","properties":{"name":{"type":"string","maxLength":9},"notes":{"type":"array",
    "items":{"type":"string"},"maxItems":3},"n":{"type":"integer"},"more":{}},"required":["name","notes","n","more"]})";

bool has(std::span<const uint64_t> mask, int32_t id) {
  return (mask[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0;
}

// Any token that is allowed, with the end first so that texts do not go on forever.
int32_t any_of(std::span<const uint64_t> mask, std::mt19937& random) {
  if (has(mask, kEnd)) return kEnd;
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < kVocab; ++id)
    if (has(mask, id)) ids.push_back(id);
  return ids.at(random() % ids.size());
}

TEST(TokenMatcher, AllowsExactlyWhatTheGrammarTakes) {
  std::mt19937 random(1);
  for (int text = 0; text < 6; ++text) {
    TokenMatcher matcher(grammar_of(kMixed), trie());
    for (int i = 0; i < 40; ++i) {
      const std::span<const uint64_t> mask = matcher.allowed();
      for (int32_t id = 0; id < kVocab; ++id)
        ASSERT_EQ(has(mask, id), matcher.possible({&id, 1}) == 1) << i << " " << id;
      const int32_t id = any_of(matcher.allowed(), random);
      if (id == kEnd) break;
      matcher.accept(id);
    }
  }
}

// The vocabulary has a token for each byte, also for those that stand for control tokens here.
TEST(TokenMatcher, TakesNoByteForAControlToken) {
  TokenMatcher matcher(grammar_of(R"({"const":1})"), trie(), tokenizer()->encode("1"));
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < kVocab; ++id)
    if (has(matcher.allowed(), id)) ids.push_back(id);
  EXPECT_EQ(ids, std::vector<int32_t>{kEnd});
}

TEST(TokenMatcher, GoesBackAndRefuses) {
  std::mt19937 random(2);
  TokenMatcher matcher(grammar_of(kMixed), trie());
  std::vector<std::vector<uint64_t>> masks;
  std::vector<int32_t> ids;
  for (int i = 0; i < 30; ++i) {
    const auto mask = matcher.allowed();
    masks.emplace_back(mask.begin(), mask.end());
    ids.push_back(any_of(mask, random));
    matcher.accept(ids.back());
  }
  EXPECT_EQ(matcher.accepted(), 30u);
  for (const size_t n : {29u, 7u, 0u}) {
    matcher.rewind(n);
    const auto mask = matcher.allowed();
    EXPECT_EQ(std::vector<uint64_t>(mask.begin(), mask.end()), masks[n]);
  }
  EXPECT_EQ(matcher.possible(ids), ids.size());
  ids[3] = kEnd;
  EXPECT_EQ(matcher.possible(ids), 3u);
  EXPECT_EQ(matcher.possible(std::vector<int32_t>{-1}), 0u);
  EXPECT_THROW(matcher.accept(kEnd), Error);
  EXPECT_THROW(matcher.rewind(1), Error);
}

// More states than are kept: when some are forgotten, masks of others that had their numbers go too.
TEST(TokenMatcher, ForgetsMasksWithTheirStates) {
  std::mt19937 random(3);
  Json::Array texts;
  for (int i = 0; i < 600; ++i) {
    std::string text;
    for (int n = 0; n < 20; ++n) text += static_cast<char>('a' + random() % 26);
    texts.emplace_back(std::move(text));
  }
  const auto grammar = grammar_of(Json(Json::Object{{"enum", texts}}).dump());
  TokenMatcher matcher(grammar, trie());
  for (int text = 0; text < 1200; ++text) {
    matcher.rewind(0);
    std::vector<int32_t> ids;
    for (int32_t id = any_of(matcher.allowed(), random); id != kEnd; id = any_of(matcher.allowed(), random)) {
      ASSERT_EQ(matcher.possible({&id, 1}), 1u) << text << " " << id;
      matcher.accept(id);
      ids.push_back(id);
    }
    ASSERT_TRUE(takes(grammar, tokenizer()->decode(ids)));
  }
}

TEST(TokenMatcher, BeginsAfterAPrefix) {
  TokenMatcher matcher(grammar_of(R"({"const":"abc"})"), trie(), tokenizer()->encode("\"ab"));
  matcher.accept(tokenizer()->encode("c")[0]);
  matcher.accept(tokenizer()->encode("\"")[0]);
  EXPECT_TRUE(has(matcher.allowed(), kEnd));
  matcher.rewind(0);
  EXPECT_FALSE(has(matcher.allowed(), kEnd));
}

// ---- The sampler.

TEST(Filter, HoldsTheSamplerToTheGrammar) {
  const SamplerOptions options{.temperature = 2, .seed = 5, .repetition_penalty = 1.1f, .filter = [] {
                                 return std::make_unique<TokenMatcher>(grammar_of(kMixed), trie());
                               }};
  Sampler sampler(options, kVocab);
  const std::vector<float> logits(kVocab, 0);
  std::vector<int32_t> ids;
  SamplerState kept;
  while (ids.empty() || ids.back() != kEnd) {
    if (ids.size() == 10) kept = sampler.state();
    const int32_t next = sampler.peek(logits);
    ids.push_back(sampler.sample(logits));
    EXPECT_EQ(ids.back(), next);
    ASSERT_LT(ids.size(), 5000u);
  }
  ids.pop_back();
  EXPECT_TRUE(takes(grammar_of(kMixed), tokenizer()->decode(ids)));
  sampler.restore(kept);
  for (size_t i = 10; i < ids.size(); ++i) ASSERT_EQ(sampler.sample(logits), ids[i]);
  sampler.begin({});
  EXPECT_EQ(tokenizer()->decode(std::vector<int32_t>{sampler.sample(logits)}).front(), '{');
}

TEST(Filter, AllocatesNothing) {
  Sampler sampler({.temperature = 1, .filter = [] { return std::make_unique<TokenMatcher>(grammar_of("{}"), trie()); }},
                  kVocab);
  const std::vector<float> logits(kVocab, 0);
  const AllocationCount count;
  for (int i = 0; i < 300; ++i) sampler.sample(logits);
  EXPECT_EQ(count.since(), 0);
}

}  // namespace
}  // namespace v4rt
