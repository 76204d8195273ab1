#include "graph/api/host_filter.h"

namespace v4rt::api {

void HostFilter::ask(std::span<const int32_t> chosen, std::span<uint64_t> allowed) {
  std::ranges::fill(allowed, ~uint64_t{0});
  {
    const std::lock_guard lock(mutex_);
    go_on(function_ != nullptr ? function_(chosen.data(), chosen.size(), allowed.data(), allowed.size(), user_) : 0,
          "the filter of tokens");
  }
  if (const size_t rest = vocab_size_ % 64; rest != 0) allowed.back() &= (uint64_t{1} << rest) - 1;
  check(std::ranges::any_of(allowed, [](uint64_t word) { return word != 0; }), Code::kInvalidArgument,
        "the filter of tokens allows none after {} that were chosen", chosen.size());
}

void HostFilter::close() {
  const std::lock_guard lock(mutex_);
  function_ = nullptr;
}

size_t HostTokenFilter::possible(std::span<const int32_t> ids) {
  const size_t before = chosen_.size();
  size_t n = 0;
  try {
    for (; n < ids.size() && ids[n] >= 0; ++n) {
      const auto id = static_cast<size_t>(ids[n]);
      if ((allowed()[id / 64] >> (id % 64) & 1) == 0) break;
      chosen_.push_back(ids[n]);
    }
  } catch (const std::exception&) {  // who accepts them is told
  }
  chosen_.resize(before);
  return n;
}

}  // namespace v4rt::api
