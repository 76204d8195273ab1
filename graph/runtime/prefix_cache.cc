#include "graph/runtime/prefix_cache.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <optional>

#include "loaders/files/folders.h"
#include "loaders/files/mapped_file.h"
#include "loaders/files/pending_files.h"
#include "ops/core/folder.h"
#include "ops/core/log.h"

namespace v4rt {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".kv";
constexpr auto kStale = std::chrono::hours(1);  // a temporary file of that age has been left behind

struct FileHead {
  char magic[8] = {'v', '4', 'r', 't', '-', 'k', 'v', '1'};
  Hash key{}, sum{};
};

std::optional<Hash> key_of(const std::string& name) {
  if (name.size() != 32 + kSuffix.size() || !name.ends_with(kSuffix)) return std::nullopt;
  Hash key{};
  for (size_t i = 0; i < 2; ++i) {
    const char* first = name.data() + 16 * i;
    const auto [end, error] = std::from_chars(first, first + 16, key[i], 16);
    if (error != std::errc() || end != first + 16) return std::nullopt;
  }
  return to_string(key) + std::string(kSuffix) == name ? std::optional(key) : std::nullopt;
}

}  // namespace

PrefixCache::PrefixCache(const PrefixCacheOptions& options, const Session& session)
    : mark_(session.mark()), folder_path_(options.folder) {
  memory_.limit = options.memory;
  folder_.limit = options.folder_bytes;
  if (folder_path_.empty()) return;
  (void)make_folders(folder_path_);
  scan_folder();
}

// ---- tiers ----

void PrefixCache::touch(Tier& tier, const Hash& key) {
  const auto known = tier.known.find(key);
  if (known != tier.known.end()) tier.parts.splice(tier.parts.begin(), tier.parts, known->second);
}

void PrefixCache::add(Tier& tier, Part part) {
  if (tier.known.contains(part.key)) return touch(tier, part.key);
  tier.bytes += part.size;
  tier.parts.push_front(std::move(part));
  tier.known[tier.parts.front().key] = tier.parts.begin();
}

void PrefixCache::drop(Tier& tier, const Hash& key) {
  const auto known = tier.known.find(key);
  if (known == tier.known.end()) return;
  tier.bytes -= known->second->size;
  tier.parts.erase(known->second);
  tier.known.erase(known);
}

void PrefixCache::shrink(Tier& tier) {
  while (tier.bytes > tier.limit) {
    const Hash key = tier.parts.back().key;
    if (&tier == &folder_) {
      std::error_code ignored;  // another process may have removed it
      fs::remove(path(key), ignored);
    }
    drop(tier, key);
  }
}

bool PrefixCache::has(const Hash& key) { return memory_.known.contains(key) || folder_.known.contains(key); }

PrefixCache::Held PrefixCache::load(const Hash& key) {
  if (const auto known = memory_.known.find(key); known != memory_.known.end()) return known->second->bytes;
  if (!folder_.known.contains(key)) return nullptr;
  return read_file(key);
}

void PrefixCache::keep(const Hash& key, Bytes bytes) {
  const auto shared = std::make_shared<const Bytes>(std::move(bytes));
  if (!folder_path_.empty() && !folder_.known.contains(key)) write_file(key, *shared);
  add(memory_, {key, shared, shared->size()});
}

// ---- files ----

std::string PrefixCache::path(const Hash& key) const {
  return (fs::path(folder_path_) / (to_string(key) + std::string(kSuffix))).string();
}

void PrefixCache::see_other_processes() {
  std::error_code gone;
  if (folder_path_.empty() || fs::last_write_time(folder_path_, gone) == scanned_) return;
  try {
    scan_folder();
  } catch (const std::exception& error) {
    log::warn("prefix cache: {}; it goes on in memory", error.what());
  }
}

// By the time of the last use.
void PrefixCache::scan_folder() {
  struct Found {
    fs::file_time_type used;
    Part part;
  };
  std::vector<Found> found;
  std::error_code error;
  for (const std::string& name : names_in(folder_path_, error)) {
    std::error_code gone;
    const std::string path = folder_path_ + "/" + name;
    const fs::file_time_type used = fs::last_write_time(path, gone);
    if (gone) continue;
    if (const auto key = key_of(name)) {
      const uintmax_t size = fs::file_size(path, gone);
      if (!gone) found.push_back({used, {*key, nullptr, static_cast<size_t>(size)}});
    } else if (name.ends_with(".part") && name.find(kSuffix) == 32 &&
               fs::file_time_type::clock::now() - used > kStale) {
      fs::remove(path, gone);
    }
  }
  check(!error, Code::kInvalidArgument, "{}: cannot be read: {}", folder_path_, error.message());
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.used < b.used; });
  folder_.parts.clear();
  folder_.known.clear();
  folder_.bytes = 0;
  for (Found& each : found) add(folder_, std::move(each.part));
  shrink(folder_);
  scanned_ = fs::last_write_time(folder_path_, error);
}

// Nothing when the file is gone or damaged; then it is removed.
PrefixCache::Held PrefixCache::read_file(const Hash& key) {
  try {
    const auto file = MappedFile::open(path(key), FileAccess::kRead);
    FileHead head;
    const FileHead expected;
    const std::span<const std::byte> bytes = file->bytes();
    check(bytes.size() >= sizeof head, Code::kCorrupt, "{}: cut short", file->path());
    std::memcpy(&head, bytes.data(), sizeof head);
    const auto rest = bytes.subspan(sizeof head);
    check(
        std::memcmp(head.magic, expected.magic, sizeof head.magic) == 0 && head.key == key && head.sum == hash_of(rest),
        Code::kCorrupt, "{}: damaged", file->path());
    (void)::utimensat(AT_FDCWD, file->path().c_str(), nullptr, 0);  // used now
    return std::make_shared<const Bytes>(rest.begin(), rest.end());
  } catch (const Error& error) {
    if (error.code() == Code::kCorrupt) log::warn("prefix cache: {}; it is removed", error.what());
    std::error_code ignored;
    fs::remove(path(key), ignored);
    drop(folder_, key);
    return nullptr;
  }
}

void PrefixCache::write_file(const Hash& key, std::span<const std::byte> bytes) {
  try {
    PendingFiles files(folder_path_, PendingFiles::Sync::kNo);
    const FileHead head{.key = key, .sum = hash_of(bytes)};
    files.begin(to_string(key) + std::string(kSuffix));
    files.append(std::as_bytes(std::span(&head, 1)));
    files.append(bytes);
    files.commit();
    add(folder_, {key, nullptr, sizeof head + bytes.size()});
    shrink(folder_);
    std::error_code error;
    scanned_ = fs::last_write_time(folder_path_, error);
  } catch (const Error& error) {
    log::warn("prefix cache: {}; this part is kept in memory only", error.what());
  }
}

// ---- sequences ----

// Of the beginnings of 0, 128, 256 .. tokens: the keys of the parts that end there.
std::vector<Hash> PrefixCache::beginnings(std::span<const int32_t> tokens, std::string_view space) const {
  Hasher none;
  none.add(mark_);
  none.add(space);
  std::vector<Hash> keys{none.value()};
  for (; tokens.size() >= kBlock; tokens = tokens.subspan(kBlock)) {
    Hasher hasher;
    hasher.add(keys.back());
    hasher.add(std::as_bytes(tokens.first(kBlock)));
    keys.push_back(hasher.value());
  }
  return keys;
}

Hash PrefixCache::tail_key(std::span<const Hash> beginnings, std::span<const int32_t> tokens) const {
  const size_t blocks = tokens.size() / kBlock;
  Hasher hasher;
  hasher.add("tail");
  hasher.add(beginnings[blocks]);
  hasher.add(std::as_bytes(tokens.subspan(blocks * kBlock)));
  return hasher.value();
}

int64_t PrefixCache::restore(Session& session, int slot, std::span<const int32_t> tokens, std::string_view space) {
  see_other_processes();
  const std::vector<Hash> keys = beginnings(tokens, space);
  for (auto position = static_cast<int64_t>(tokens.size()) - 1; position > 0; --position) {
    const Hash key = tail_key(keys, tokens.first(static_cast<size_t>(position)));
    if (!has(key)) continue;
    const auto blocks = static_cast<size_t>(position / kBlock);
    std::vector<Held> held{load(key)};
    for (size_t b = 1; b <= blocks && held.back() != nullptr; ++b) held.push_back(load(keys[b]));
    if (held.back() == nullptr) continue;
    std::vector<std::span<const std::byte>> entries;
    for (size_t b = 1; b <= blocks; ++b) entries.emplace_back(*held[b]);
    session.assemble(position, kBlock, entries, *held[0], slot);
    // The tail before the blocks that it needs, and these from the last to the first: they are dropped in that order.
    const auto used = [&](const Hash& part, const Held& bytes) {
      touch(folder_, part);
      add(memory_, {part, bytes, bytes->size()});
    };
    used(key, held[0]);
    for (size_t b = blocks; b > 0; --b) used(keys[b], held[b]);
    shrink(memory_);
    return position;
  }
  return 0;
}

void PrefixCache::store(const Session& session, int slot, std::span<const int32_t> tokens, std::string_view space) {
  check(static_cast<int64_t>(tokens.size()) == session.position(slot), Code::kInvalidArgument,
        "{} tokens of a sequence at position {}", tokens.size(), session.position(slot));
  const std::vector<Hash> keys = beginnings(tokens, space);
  const auto use = [&](const Hash& part, const auto& make) {
    if (!has(part)) return keep(part, make());
    touch(folder_, part);
    touch(memory_, part);
  };
  const auto blocks = static_cast<int64_t>(keys.size()) - 1;
  use(tail_key(keys, tokens), [&] { return session.tail(blocks * kBlock, slot); });
  for (int64_t b = blocks; b > 0; --b) {
    use(keys[static_cast<size_t>(b)], [&] { return session.entries((b - 1) * kBlock, b * kBlock, slot); });
  }
  shrink(memory_);
}

}  // namespace v4rt
