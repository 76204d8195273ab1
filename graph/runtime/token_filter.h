#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace v4rt {

// Decides which tokens a text may go on with.
class TokenFilter {
 public:
  virtual ~TokenFilter() = default;
  // A bit for each id, of which at least one is set. Valid until the next call.
  virtual std::span<const uint64_t> allowed() = 0;
  virtual void accept(int32_t id) = 0;  // one that is allowed
  // How many of these may follow, one after the other. Nothing changes.
  virtual size_t possible(std::span<const int32_t> ids) = 0;
  // Tokens accepted so far; and back to where there were `n`.
  virtual size_t accepted() const = 0;
  virtual void rewind(size_t n) = 0;
};

}  // namespace v4rt
