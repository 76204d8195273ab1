#include "ops/core/hash.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <new>

namespace v4rt {
namespace {

Hash parts(const XXH128_hash_t& hash) { return {hash.high64, hash.low64}; }

}  // namespace

std::string to_string(const Hash& hash) { return fmt::format("{:016x}{:016x}", hash[0], hash[1]); }

void Hasher::Free::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

Hasher::Hasher() : state_(XXH3_createState()) {
  if (state_ == nullptr) throw std::bad_alloc();
  XXH3_128bits_reset(state_.get());
}

void Hasher::append(std::span<const std::byte> bytes) {
  if (!bytes.empty()) XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
}

void Hasher::add(std::span<const std::byte> bytes) {
  add(uint64_t{bytes.size()});
  append(bytes);
}

void Hasher::add(uint64_t number) {
  std::array<std::byte, 8> bytes;
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(number >> (8 * i));
  append(bytes);
}

void Hasher::add(const Hash& hash) {
  for (const uint64_t part : hash) add(part);
}

Hash Hasher::value() const { return parts(XXH3_128bits_digest(state_.get())); }

Hash hash_of(std::span<const std::byte> bytes) { return parts(XXH3_128bits(bytes.data(), bytes.size())); }

Hash hash_of_pages(std::span<const std::byte> bytes, size_t pages) {
  constexpr size_t kPage = 4096;
  Hasher hasher;
  hasher.add(uint64_t{bytes.size()});
  const size_t all = bytes.size() / kPage;
  if (pages < 2 || all <= pages) {
    hasher.append(bytes);
  } else {
    for (size_t i = 0; i + 1 < pages; ++i) hasher.append(bytes.subspan((all - 1) * i / (pages - 1) * kPage, kPage));
    hasher.append(bytes.last(kPage));
  }
  return hasher.value();
}

}  // namespace v4rt
