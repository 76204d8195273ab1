#include "graph/runtime/profiles.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "fakes.h"
#include "graph/plan/compile.h"
#include "loaders/files/json_file.h"
#include "ops/basic/basic.h"
#include "ops/linear/linear.h"
#include "ops/norm/norm.h"
#include "tests/support/models.h"
#include "tests/support/safetensors_writer.h"

namespace v4rt {
namespace {

using testing::HasSubstr;

TEST(Profiles, BuiltInOnesAreThoseOfTheFolderAndNameTheirSources) {
  std::vector<std::string> names;
  for (const ProfileFile& file : built_in_profiles()) {
    const DeviceProfile profile = read_profile(std::string(file.name));
    EXPECT_EQ(profile.name, file.name);
    EXPECT_FALSE(profile.description.empty());
    names.push_back(profile.name);
  }
  EXPECT_THAT(names, testing::UnorderedElementsAre("ascend-like", "mobile-gpu", "opencl12-min", "opencl12-embedded"));
}

// What the parser knows and what the schema describes are the same keys.
TEST(Profiles, TheSchemaDescribesWhatIsRead) {
  const std::string path = source_path("backend/profiles/schema.json");
  const nlohmann::json properties = nlohmann::json::parse(read_text_file(path))["properties"];
  nlohmann::json all = {{"name", "all"}, {"description", "each key"}};
  for (const auto& [key, schema] : properties.items()) {
    if (schema.contains("$ref")) all[key] = {{"value", 2}, {"source", "a test"}};
  }
  all["types"] = {{"value", {"f32"}}, {"source", "a test"}};
  all["ops"] = {{{"ops", {"linear"}}, {"refused", "no"}, {"types", {"f16"}}, {"multiple", 16}, {"source", "a test"}}};
  EXPECT_EQ(all.size(), properties.size());
  EXPECT_NO_THROW(parse_profile(all.dump(), "all"));
  EXPECT_EQ(all["ops"][0].size(), properties["ops"]["items"]["properties"].size());
}

DeviceProfile profile_of(const std::string& members) {
  return parse_profile("{\"name\": \"p\", \"description\": \"d\", " + members + "}", "p.json");
}

std::string refusal(const DeviceProfile& profile, const Op& op, std::vector<TensorType> inputs) {
  const std::vector<TensorType> outputs = op.infer(inputs);
  return allows(profile, {op, inputs, outputs}).reason;
}

TEST(Profiles, RefuseByTheFact) {
  const Linear linear(DType::kF32);
  const TensorType x{DType::kF32, {4, 24}}, w{DType::kBF16, {32, 24}};
  EXPECT_EQ(refusal(profile_of("\"ops\": []"), linear, {x, w}), "");
  EXPECT_THAT(refusal(profile_of(R"("types": {"value": ["f32"], "source": "s"})"), linear, {x, w}),
              HasSubstr("its input 1 is bf16 [32, 24], which it has no arithmetic for"));
  EXPECT_THAT(refusal(profile_of(R"("max_allocation": {"value": 1000, "source": "s"})"), linear, {x, w}),
              HasSubstr("its input 1 takes 1.50 KiB, and one buffer may have 1000 B"));
  EXPECT_THAT(refusal(profile_of(R"("row_bytes": {"value": 200, "source": "s"})"), linear, {x, w}),
              HasSubstr("it works on 224 B for one token"));
  EXPECT_THAT(refusal(profile_of(R"("max_rank": {"value": 1, "source": "s"})"), linear, {x, w}),
              HasSubstr("its input 0 has 2 dimensions"));

  const DeviceProfile cube = profile_of(
      R"("types": {"value": ["f32"], "source": "s"},
         "ops": [{"ops": ["linear"], "types": ["f32", "bf16"], "multiple": 16, "source": "s"},
                 {"ops": ["rms_norm"], "refused": "no roots", "source": "s"}])");
  EXPECT_THAT(refusal(cube, linear, {x, w}),
              HasSubstr("its input 1 is [32, 24], and its matrices are multiples of 16"));
  EXPECT_EQ(refusal(cube, linear, {{DType::kF32, {4, 32}}, {DType::kBF16, {32, 32}}}), "");
  EXPECT_EQ(refusal(cube, RmsNorm(1e-6f), {x, {DType::kF32, {24}}}), "no roots");
}

TEST(Profiles, ADeviceHasTheSmallerLimits) {
  const auto inner = create_device("cpu", {.threads = 1});
  const auto device = create_profiled_device(inner, profile_of(R"("max_allocation": {"value": 4096, "source": "s"})"));
  EXPECT_EQ(device->info().name, "cpu+p");
  EXPECT_EQ(device->info().max_allocation, 4096u);
  EXPECT_EQ(device->info().memory, inner->info().memory);
  EXPECT_NO_THROW(device->allocate(4096));
  EXPECT_THROW(device->allocate(4097), Error);
  const std::vector<std::byte> much(8192);
  EXPECT_EQ(device->import_host(much), nullptr);
}

// What a device offers for the sake of speed, it offers as described too: small ops are launched together, and kernels
// of ops that are not are made before the first launch.
TEST(Profiles, LaunchesAreJoinedAsTheDeviceJoinsThem) {
  const auto fake = std::make_shared<fakes::JoiningFake>("fake");
  fake->any = true;
  const auto device = create_profiled_device(fake, profile_of("\"ops\": []"));
  EXPECT_EQ(joining(*device), fake.get());
  EXPECT_FALSE(overlaps(*device));
  Builder g;
  const ValueId first = g.emit("first", fakes::mix(), {g.input("x", fakes::f32(4))}).front();
  const ValueId second = g.emit("second", fakes::mix(), {first}).front();
  g.output("out", g.emit("third", fakes::mix_into(), {second}).front());
  const Plan plan = compile(g.take(), {.devices = {device}});
  ASSERT_EQ(plan.joins.size(), 1u);
  EXPECT_EQ(plan.joins[0].count, 2u);
  EXPECT_EQ(fake->alone.size(), 1u);
  EXPECT_EQ(joining(*create_profiled_device(std::make_shared<fakes::FakeDevice>("fake"), {})), nullptr);
}

TEST(Profiles, BadFilesAreRefusedByPlace) {
  const auto message = [](const std::string& members) -> std::string {
    try {
      profile_of(members);
    } catch (const Error& e) {
      return e.what();
    }
    return "nothing was thrown";
  };
  EXPECT_THAT(message(R"("max_group": 256)"), HasSubstr("'max_group': is not a JSON object"));
  EXPECT_THAT(message(R"("max_group": {"value": 256})"), HasSubstr("p.json: 'max_group': 'source' is missing"));
  EXPECT_THAT(message(R"("max_group": {"value": 0, "source": "s"})"), HasSubstr("'value' is 0"));
  EXPECT_THAT(message(R"("speed": {"value": 1, "source": "s"})"), HasSubstr("'speed'"));
  EXPECT_THAT(message(R"("ops": [{"ops": ["multiply"], "source": "s"}])"), HasSubstr("there is no \"multiply\""));
  EXPECT_THAT(message(R"("ops": [{"ops": [], "source": "s"}])"), HasSubstr("expected a list of names"));
  EXPECT_THAT(message(R"("types": {"value": ["f64"], "source": "s"})"), HasSubstr("there is no \"f64\""));
  const TempFolder folder;
  EXPECT_THROW(read_profile(folder.file("none.json")), Error);
  EXPECT_EQ(read_profile(folder.write("own.json", R"({"name": "own", "description": "d"})")).name, "own");
}

}  // namespace
}  // namespace v4rt
