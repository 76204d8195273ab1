#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace v4rt {

// Bytes on disk by key. An entry is trusted only when its header repeats the whole key and its checksum holds: drivers
// abort on damaged binaries. Writing goes through a temporary name, so readers see all or nothing.
class BinaryStore {
 public:
  explicit BinaryStore(std::string directory) : directory_(std::move(directory)) {}  // empty: keeps nothing

  bool keeps() const { return !directory_.empty(); }
  std::optional<std::vector<std::byte>> load(std::string_view key) const;
  void store(std::string_view key, const std::vector<std::byte>& bytes) const;  // failure costs one log line
  std::string path(std::string_view key) const;

 private:
  std::string directory_;
};

}  // namespace v4rt
