#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace v4rt {

// Bytes on disk by key, one file each, whose names end in `suffix`. An entry is trusted only if its header repeats the
// whole key and its checksum is right: drivers abort on damaged binaries. Files are written under a temporary name, so
// readers see all or nothing.
class BinaryStore {
 public:
  explicit BinaryStore(std::string directory, std::string suffix = ".clbin")  // without a directory it keeps nothing
      : directory_(std::move(directory)), suffix_(std::move(suffix)) {}

  bool keeps() const { return !directory_.empty(); }
  // `problem`, if given: why an existing entry is not used.
  std::optional<std::vector<std::byte>> load(std::string_view key, std::string* problem = nullptr) const;
  void store(std::string_view key, const std::vector<std::byte>& bytes) const;  // a failure is only logged
  std::string path(std::string_view key) const;

 private:
  std::string directory_, suffix_;
};

}  // namespace v4rt
