#include "backend/binary_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <tuple>

#include "ops/core/folder.h"
#include "ops/core/hash.h"
#include "ops/core/log.h"

namespace v4rt {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMagic = 0x3330'6c63'7472'3476;  // "v4rtcl03": changes with the format

struct Header {
  uint64_t magic, key_bytes, data_bytes;
  Hash checksum;  // of the data
};

struct Head {
  Header header;
  std::string key;
};

// Leaves the file at the data. Throws std::runtime_error if it is damaged or for something else.
Head read_head(std::ifstream& file) {
  file.seekg(0, std::ios::end);
  const auto size = static_cast<size_t>(file.tellg());
  file.seekg(0);
  Head head{};
  Header& header = head.header;
  if (size < sizeof(header) || !file.read(reinterpret_cast<char*>(&header), sizeof(header))) {
    throw std::runtime_error("it has no header");
  }
  const size_t rest = size - sizeof(header);
  if (header.magic != kMagic) throw std::runtime_error("its format is another");
  if (header.key_bytes > rest || header.data_bytes != rest - header.key_bytes)
    throw std::runtime_error("its size is wrong");
  head.key.resize(header.key_bytes);
  if (!file.read(head.key.data(), static_cast<std::streamsize>(head.key.size())))
    throw std::runtime_error("it could not be read");
  return head;
}

// nullopt: not there. Throws like read_head.
std::optional<std::vector<std::byte>> read_entry(const std::string& path, std::string_view key) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  const Head head = read_head(file);
  std::vector<std::byte> data(head.header.data_bytes);
  if (!file.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(data.size())))
    throw std::runtime_error("it could not be read");
  if (head.key != key) throw std::runtime_error("it belongs to another program");
  if (hash_of(data) != head.header.checksum) throw std::runtime_error("its checksum is wrong");
  return data;
}

constexpr std::string_view kUnfinished = ".tmp", kTrial = ".trial";

// A name beside `entry` that no other process and no other call makes.
std::string unique_beside(const std::string& entry, std::string_view suffix) {
  static std::atomic<unsigned> serial{0};
  return fmt::format("{}.{}.{}{}", entry, getpid(), serial++, suffix);
}

StoredEntry describe(const fs::path& path) {
  StoredEntry entry{.path = path.string()};
  struct stat status {};
  if (::stat(entry.path.c_str(), &status) == 0) {
    entry.bytes = static_cast<uint64_t>(status.st_size);
    entry.written = status.st_mtime;
  }
  if (path.extension() == kUnfinished) entry.problem = "its writer was stopped";
  if (path.extension() == kTrial) entry.problem = "it marks an entry that is being tried, or ended a process";
  if (!entry.problem.empty()) return entry;
  try {
    std::ifstream file(path, std::ios::binary);
    const Head head = read_head(file);
    std::istringstream lines(head.key);
    for (std::string* line : {&entry.what, &entry.device, &entry.driver}) std::getline(lines, *line);
    if (head.header.data_bytes == 0) entry.problem = "compiling or launching it ended a process of its driver's";
  } catch (const std::exception& error) {
    entry.problem = error.what();
  }
  return entry;
}

// The files whose names hold `suffix`, in no order; none if the directory cannot be read.
std::vector<fs::path> files_of(const std::string& directory, std::string_view suffix) {
  std::vector<fs::path> files;
  std::error_code unreadable;
  for (const std::string& name : names_in(directory, unreadable))
    if (name.find(suffix) != std::string::npos) files.push_back(fs::path(directory) / name);
  return files;
}

}  // namespace

std::string BinaryStore::path(std::string_view key) const {
  return fmt::format("{}/{}{}", directory_, to_string(hash_of(key)), suffix_);
}

std::optional<std::vector<std::byte>> BinaryStore::load(std::string_view key, std::string* problem) const {
  if (directory_.empty()) return std::nullopt;
  try {
    return read_entry(path(key), key);
  } catch (const std::exception& error) {
    log::debug("cache entry {} is not used: {}", path(key), error.what());
    if (problem != nullptr) *problem = error.what();
    return std::nullopt;
  }
}

void BinaryStore::store(std::string_view key, const std::vector<std::byte>& bytes) const {
  if (directory_.empty()) return;
  const std::string target = path(key), temporary = unique_beside(target, kUnfinished);
  std::error_code error;
  fs::create_directories(directory_, error);
  {
    const Header header{kMagic, key.size(), bytes.size(), hash_of(bytes)};
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(&header), sizeof(header));
    file.write(key.data(), static_cast<std::streamsize>(key.size()));
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (!file) error = std::make_error_code(std::errc::io_error);
  }
  if (!error) fs::rename(temporary, target, error);
  if (error) {
    log::debug("cache entry {} could not be written: {}", target, error.message());
    fs::remove(temporary, error);
  }
}

// Locked before it has its name: who finds it unlocked may conclude that its process is gone. Where files cannot be
// locked, entries are tried without.
BinaryStore::Trial::Trial(const std::string& entry) {
  const std::string temporary = unique_beside(entry, kUnfinished);
  file_ = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file_ < 0) return;
  const std::string name = unique_beside(entry, kTrial);
  if (::flock(file_, LOCK_EX | LOCK_NB) == 0 && ::rename(temporary.c_str(), name.c_str()) == 0) path_ = name;
  if (path_.empty()) ::unlink(temporary.c_str());
}

BinaryStore::Trial::~Trial() {
  if (!path_.empty()) ::unlink(path_.c_str());
  if (file_ >= 0) ::close(file_);
}

std::vector<StoredEntry> BinaryStore::remove_fatal() const {
  std::vector<StoredEntry> removed;
  for (const fs::path& mark : files_of(directory_, suffix_)) {
    if (mark.extension() != kTrial) continue;
    const int file = ::open(mark.c_str(), O_WRONLY | O_CLOEXEC);
    if (file >= 0 && ::flock(file, LOCK_EX | LOCK_NB) == 0) {
      const std::string name = mark.string();
      StoredEntry entry = describe(name.substr(0, name.rfind(suffix_) + suffix_.size()));
      if (::unlink(entry.path.c_str()) == 0) removed.push_back(std::move(entry));
      ::unlink(mark.c_str());
    }
    if (file >= 0) ::close(file);
  }
  return removed;
}

std::vector<StoredEntry> stored_entries(const std::string& directory) {
  std::vector<StoredEntry> entries;
  for (const std::string_view suffix : {BinaryStore::kPrograms, BinaryStore::kTimes})
    for (const fs::path& file : files_of(directory, suffix)) entries.push_back(describe(file));
  std::ranges::sort(entries, {}, [](const StoredEntry& e) { return std::tie(e.device, e.what, e.path); });
  return entries;
}

}  // namespace v4rt
