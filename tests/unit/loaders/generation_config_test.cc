#include "loaders/checkpoint/generation_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/core/error.h"

namespace v4rt {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

GenerationConfig parse(const std::string& text) { return parse_generation_config(text, "generation_config.json", 512); }

std::string refused(const std::string& text) {
  try {
    parse(text);
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(GenerationConfig, ReadsWhatIsRecommended) {
  const GenerationConfig config = parse(
      R"({"bos_token_id": 0, "eos_token_id": [1, 386, 1], "do_sample": true, "temperature": 0.6, "top_p": 0.95})");
  EXPECT_THAT(config.eos_token_ids, ElementsAre(1, 386));
  EXPECT_EQ(config.temperature, 0.6);
  EXPECT_EQ(config.top_p, 0.95);
  EXPECT_FALSE(config.top_k);
  const GenerationConfig more = parse(R"({"top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1})");
  EXPECT_EQ(more.top_k, 20);
  EXPECT_EQ(more.min_p, 0.05);
  EXPECT_EQ(parse(R"({"top_k": -1})").top_k, 0);
  EXPECT_EQ(more.repetition_penalty, 1.1);
  EXPECT_THAT(config.not_applied, IsEmpty());
}

TEST(GenerationConfig, WhatTheFileDoesNotSayIsAbsent) {
  for (const char* text : {"{}", R"({"eos_token_id": null, "temperature": null, "top_p": null})"}) {
    const GenerationConfig config = parse(text);
    EXPECT_THAT(config.eos_token_ids, IsEmpty());
    EXPECT_FALSE(config.temperature);
    EXPECT_FALSE(config.top_p);
  }
  EXPECT_THAT(parse(R"({"eos_token_id": 5})").eos_token_ids, ElementsAre(5));
}

TEST(GenerationConfig, WithoutSamplingTheTemperatureIsZero) {
  EXPECT_EQ(parse(R"({"do_sample": false, "temperature": 0.6})").temperature, 0.0);
}

TEST(GenerationConfig, NamesTheSettingsThatItDoesNotKnow) {
  EXPECT_THAT(parse(R"({"typical_p": 0.2, "eta_cutoff": 0.0, "num_beams": 4, "max_length": 100})").not_applied,
              ElementsAre("typical_p = 0.2", "num_beams = 4"));
}

TEST(GenerationConfig, RefusesWhatHasNoMeaning) {
  EXPECT_THAT(refused(R"({"eos_token_id": [1, 512]})"), HasSubstr("generation_config.json: 'eos_token_id' is [1,512]"));
  EXPECT_THAT(refused(R"({"eos_token_id": -1})"), HasSubstr("'eos_token_id' is -1"));
  EXPECT_THAT(refused(R"({"eos_token_id": "1"})"), HasSubstr("'eos_token_id' is \"1\""));
  EXPECT_THAT(refused(R"({"temperature": -1})"), HasSubstr("'temperature' is -1"));
  EXPECT_THAT(refused(R"({"top_p": 0})"), HasSubstr("'top_p' is 0"));
  EXPECT_THAT(refused(R"({"top_k": -2})"), HasSubstr("'top_k' is -2"));
  EXPECT_THAT(refused(R"({"top_k": 2.5})"), HasSubstr("'top_k' is 2.5"));
  EXPECT_THAT(refused(R"({"min_p": 2})"), HasSubstr("'min_p' is 2"));
  EXPECT_THAT(refused(R"({"repetition_penalty": 0})"), HasSubstr("'repetition_penalty' is 0"));
  EXPECT_THAT(refused(R"({"top_p": "1"})"), HasSubstr("'top_p' is \"1\""));
  EXPECT_THAT(refused("[]"), HasSubstr("generation_config.json: is not a JSON object"));
  EXPECT_THAT(refused("{"), HasSubstr("generation_config.json: not valid JSON"));
}

}  // namespace
}  // namespace v4rt
