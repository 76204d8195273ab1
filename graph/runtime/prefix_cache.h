#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "graph/runtime/session.h"

namespace v4rt {

struct PrefixCacheOptions {
  size_t memory = size_t{1} << 30;        // bytes that may be kept in memory
  std::string folder;                     // where they are kept between runs; empty: nowhere
  size_t folder_bytes = size_t{4} << 30;  // that may be kept there
};

// Beginnings of sequences, found again by their tokens. A sequence is kept in parts: for every 128 tokens the
// compressed entries that they complete, which sequences with the same beginning share; and for each position that
// store() was called at, the tail there. What was used last stays.
//
// Parts are files of a folder, named by a hash of the weights, the number mode and all tokens up to their end, with a
// checksum. They appear when they are complete, so several processes may share a folder, and one that is killed leaves
// nothing wrong. A part that is missing or damaged is one that is not there; a disk that is full, a warning.
class PrefixCache {
 public:
  static constexpr int64_t kBlock = 128;  // tokens of a part: a multiple of every layer's ratio

  // `model`: whose sequences. Throws Error when the folder cannot be made or read.
  PrefixCache(const PrefixCacheOptions& options, const Session& session);

  // Makes the empty sequence `slot` what it is after the longest beginning of `tokens` that is kept, leaving one token
  // at least. Returns its length.
  int64_t restore(Session& session, int slot, std::span<const int32_t> tokens, std::string_view space = {});

  // Keeps sequence `slot`, which consists of `tokens`. `space`: found only with the same.
  void store(const Session& session, int slot, std::span<const int32_t> tokens, std::string_view space = {});

  size_t memory_bytes() const { return memory_.bytes; }
  size_t folder_bytes() const { return folder_.bytes; }

 private:
  using Held = std::shared_ptr<const Bytes>;
  struct Part {
    Hash key;
    Held bytes;  // in memory only
    size_t size = 0;
  };
  struct KeyHash {
    size_t operator()(const Hash& key) const { return static_cast<size_t>(key[0]); }
  };
  // The parts of one tier, what was used last in front.
  struct Tier {
    size_t limit = 0, bytes = 0;
    std::list<Part> parts;
    std::unordered_map<Hash, std::list<Part>::iterator, KeyHash> known;
  };

  std::vector<Hash> beginnings(std::span<const int32_t> tokens, std::string_view space) const;
  Hash tail_key(std::span<const Hash> beginnings, std::span<const int32_t> tokens) const;

  bool has(const Hash& key);
  Held load(const Hash& key);
  void keep(const Hash& key, Bytes bytes);
  void add(Tier& tier, Part part);
  void touch(Tier& tier, const Hash& key);
  void drop(Tier& tier, const Hash& key);
  void shrink(Tier& tier);

  std::string path(const Hash& key) const;
  void see_other_processes();
  void scan_folder();
  Held read_file(const Hash& key);
  void write_file(const Hash& key, std::span<const std::byte> bytes);

  const Hash mark_;
  const std::string folder_path_;
  std::filesystem::file_time_type scanned_;  // when the folder had last been changed
  Tier memory_, folder_;
};

}  // namespace v4rt
