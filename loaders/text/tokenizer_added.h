#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace v4rt {

struct AddedToken {
  std::string content;  // plain UTF-8, not empty
  int32_t id;
};

// Finds added tokens in text: the leftmost match wins, the longest among those that start at the same place.
class AddedTokens {
 public:
  struct Match {
    size_t begin, size;
    int32_t id;
  };

  explicit AddedTokens(std::vector<AddedToken> tokens);  // contents must differ

  std::optional<Match> find(std::string_view text, size_t from) const;
  std::optional<int32_t> id_of(std::string_view content) const;
  bool contains(int32_t id) const;

 private:
  std::optional<Match> longest_at(std::string_view text, size_t begin) const;

  std::vector<AddedToken> tokens_;  // sorted by content, as bytes
  std::vector<int32_t> ids_;        // sorted
  std::array<bool, 256> starts_{};  // whether some token starts with a byte
};

}  // namespace v4rt
