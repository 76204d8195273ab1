#pragma once

#include <mutex>
#include <span>
#include <vector>

#include "graph/api/boundary.h"
#include "ops/core/arith.h"

namespace v4rt::api {

// A filter of tokens that is the host's, for as long as he lets it be called.
class HostFilter {
 public:
  using Function = decltype(v4rt_sampler_options::filter);
  HostFilter(Function function, void* user, int64_t vocab_size)
      : function_(function),
        user_(user),
        vocab_size_(static_cast<size_t>(vocab_size)),
        words_(ceil_div(vocab_size_, size_t{64})) {}

  size_t words() const { return words_; }
  // What may follow `chosen`. Throws Cancelled when he stops, or has closed it, and Error when nothing is left.
  void ask(std::span<const int32_t> chosen, std::span<uint64_t> allowed);
  void close();  // waits for the call that runs

 private:
  std::mutex mutex_;
  Function function_;  // guarded by it; nullptr: closed
  void* const user_;
  const size_t vocab_size_, words_;
};

// Of one text.
class HostTokenFilter final : public TokenFilter {
 public:
  explicit HostTokenFilter(std::shared_ptr<HostFilter> host) : host_(std::move(host)), allowed_(host_->words()) {}

  std::span<const uint64_t> allowed() override {
    host_->ask(chosen_, allowed_);
    return allowed_;
  }
  void accept(int32_t id) override { chosen_.push_back(id); }
  size_t possible(std::span<const int32_t> ids) override;
  size_t accepted() const override { return chosen_.size(); }
  void rewind(size_t n) override { chosen_.resize(n); }

 private:
  const std::shared_ptr<HostFilter> host_;
  std::vector<int32_t> chosen_;
  std::vector<uint64_t> allowed_;
};

}  // namespace v4rt::api
