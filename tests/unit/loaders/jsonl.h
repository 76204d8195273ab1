#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace v4rt {

inline std::string source_path(const std::string& relative) { return std::string(V4RT_SOURCE_DIR) + "/" + relative; }

// The folder of test data from others, which is not part of the source tree; empty if it is not there.
inline std::string fixture_path(const std::string& relative) {
  const std::string path = source_path("../shared/fixtures/" + relative);
  return std::filesystem::exists(path) ? path : std::string();
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// One JSON value per line. If there is none, the calling test fails.
inline std::vector<nlohmann::json> read_jsonl(const std::string& path) {
  std::vector<nlohmann::json> values;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) values.push_back(nlohmann::json::parse(line));
  EXPECT_FALSE(values.empty()) << path;
  return values;
}

}  // namespace v4rt
