#include "graph/runtime/snapshot.h"

#include <bit>
#include <cstring>
#include <filesystem>

#include "loaders/files/mapped_file.h"
#include "loaders/files/pending_files.h"
#include "ops/core/error.h"

namespace v4rt {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr char kMagic[8] = {'v', '4', 'r', 't', '-', 's', 'e', 'q'};
constexpr uint32_t kVersion = 1;
constexpr size_t kStateHead = 4 + 8 + 8;  // the name's length, rows, bytes of a row

}  // namespace

SnapshotWriter::SnapshotWriter(int64_t position, const Hash& mark, size_t states, size_t bytes_of_rows) {
  snapshot_.position = position;
  snapshot_.bytes.reserve(sizeof kMagic + 16 + 2 * sizeof(Hash) + states * (kStateHead + 64) + bytes_of_rows);
  const auto n_states = static_cast<uint32_t>(states);
  put(kMagic, sizeof kMagic);
  put(&kVersion, sizeof kVersion);
  put(&n_states, sizeof n_states);
  put(&position, sizeof position);
  put(&mark, sizeof mark);
}

void SnapshotWriter::put(const void* value, size_t bytes) {
  const auto* from = static_cast<const std::byte*>(value);
  snapshot_.bytes.insert(snapshot_.bytes.end(), from, from + bytes);
}

std::span<std::byte> SnapshotWriter::add(std::string_view name, int64_t rows, int64_t row_bytes) {
  const auto length = static_cast<uint32_t>(name.size());
  put(&length, sizeof length);
  put(&rows, sizeof rows);
  put(&row_bytes, sizeof row_bytes);
  put(name.data(), name.size());
  const auto size = static_cast<size_t>(rows * row_bytes);
  snapshot_.bytes.resize(snapshot_.bytes.size() + size);
  return std::span(snapshot_.bytes).last(size);
}

Snapshot SnapshotWriter::finish() {
  const Hash sum = hash_of(snapshot_.bytes);
  put(&sum, sizeof sum);
  return std::move(snapshot_);
}

SnapshotReader::SnapshotReader(std::span<const std::byte> bytes) {
  const auto take = [&](size_t n) {
    check(n <= bytes.size(), Code::kCorrupt, "this snapshot of a sequence is cut short");
    const auto taken = bytes.first(n);
    bytes = bytes.subspan(n);
    return taken;
  };
  const auto read = [&](auto& value) { std::memcpy(&value, take(sizeof value).data(), sizeof value); };
  const std::span<const std::byte> all = bytes;
  char magic[sizeof kMagic];
  read(magic);
  check(std::memcmp(magic, kMagic, sizeof kMagic) == 0, Code::kCorrupt, "these bytes are no snapshot of a sequence");
  uint32_t version = 0, states = 0;
  read(version);
  check(version == kVersion, Code::kUnsupported, "a snapshot of version {}: this program knows version {}", version,
        kVersion);
  Hash sum{};
  check(bytes.size() >= sizeof sum, Code::kCorrupt, "this snapshot of a sequence is cut short");
  std::memcpy(&sum, bytes.last(sizeof sum).data(), sizeof sum);
  check(hash_of(all.first(all.size() - sizeof sum)) == sum, Code::kCorrupt,
        "this snapshot of a sequence is damaged: its checksum is another");
  bytes = bytes.first(bytes.size() - sizeof sum);
  read(states);
  read(position_);
  read(mark_);
  check(position_ >= 0, Code::kCorrupt, "a snapshot at position {}", position_);
  for (uint32_t i = 0; i < states; ++i) {
    State state;
    uint32_t length = 0;
    read(length);
    read(state.rows);
    read(state.row_bytes);
    const auto name = take(length);
    state.name = {reinterpret_cast<const char*>(name.data()), name.size()};
    uint64_t size = 0;
    check(state.rows >= 0 && state.row_bytes > 0 &&
              !__builtin_mul_overflow(static_cast<uint64_t>(state.rows), static_cast<uint64_t>(state.row_bytes), &size),
          Code::kCorrupt, "this snapshot of a sequence is damaged: {} rows of {} bytes", state.rows, state.row_bytes);
    state.bytes = take(size);
    states_.push_back(state);
  }
  check(bytes.empty(), Code::kCorrupt, "{} bytes follow this snapshot of a sequence", bytes.size());
}

const SnapshotReader::State* SnapshotReader::find(std::string_view name) const {
  for (const State& state : states_) {
    if (state.name == name) return &state;
  }
  return nullptr;
}

Snapshot snapshot_of(std::vector<std::byte> bytes) {
  const int64_t position = SnapshotReader(bytes).position();
  return {position, std::move(bytes)};
}

void save_snapshot(const Snapshot& snapshot, const std::string& path) {
  const std::filesystem::path file(path);
  check(file.has_filename(), Code::kInvalidArgument, "'{}' is not the name of a file", path);
  PendingFiles files(file.has_parent_path() ? file.parent_path().string() : ".");
  files.begin(file.filename().string());
  files.append(snapshot.bytes);
  files.commit();
}

Snapshot load_snapshot(const std::string& path) {
  const auto file = MappedFile::open(path, FileAccess::kRead);
  try {
    return snapshot_of({file->bytes().begin(), file->bytes().end()});
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", path, error.what());
  }
}

}  // namespace v4rt
