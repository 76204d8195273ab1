#include "graph/runtime/weight_cache.h"

#include <algorithm>
#include <filesystem>

#include "graph/runtime/file_lock.h"
#include "loaders/files/folders.h"
#include "ops/core/error.h"
#include "ops/core/folder.h"
#include "ops/core/log.h"

namespace v4rt {
namespace {

namespace fs = std::filesystem;

// A key of the checkpoint and of how its bytes are laid out for devices.
Hash key_of(const WeightIdentity& identity) {
  Hasher sum;
  sum.add(identity.value);
  sum.add(kLayoutVersion);
  for (int d = 0; d <= static_cast<int>(DType::kFp4); ++d) sum.add(info(static_cast<DType>(d)).name);
  return sum.value();
}

const WeightIdentity& required(const std::optional<WeightIdentity>& identity) {
  check(identity.has_value(), Code::kUnsupported,
        "weight cache: these weights come from no file, so nothing tells whether kept ones are theirs; open the model "
        "without a cache");
  return *identity;
}

}  // namespace

WeightCache::WeightCache(std::string folder, const std::optional<WeightIdentity>& identity)
    : folder_(std::move(folder)), name_(required(identity).name), key_(key_of(*identity)), files_(kFiles) {
  make_folders(folder_);
  open(true);
}

std::string WeightCache::path(size_t file) const {
  return (fs::path(folder_) / fmt::format("{}.{}.weights", name_, file)).string();
}

void WeightCache::open(bool complain) {
  for (size_t i = 0; i < kFiles; ++i) {
    std::error_code error;
    if (files_[i] != nullptr || !fs::exists(path(i), error)) continue;
    try {
      auto file = WeightFile::open(path(i), key_);
      file->check_some();
      files_[i] = std::move(file);
      log::info("weight cache: {}: {} weights", path(i), files_[i]->weights());
    } catch (const Error& e) {
      if (complain) log::warn("weight cache: {}; it is not used", e.what());
    }
  }
}

void WeightCache::check_intact() const {
  for (const auto& file : files_) {
    if (file != nullptr) file->check_intact();
  }
}

std::optional<WeightCache::Found> WeightCache::find(std::string_view name, const TensorType& type) const {
  for (const auto& file : files_) {
    if (file == nullptr) continue;
    if (const auto planes = file->find(name, type)) return Found{*planes, file};
  }
  return std::nullopt;
}

void WeightCache::complete(const Lacking& lacking, const Fill& fill, const Telling& telling) {
  const FileLock lock(path(0) + ".lock", telling.waiting);
  open(false);  // other processes may have written some
  std::vector<NewWeight> weights = lacking();
  if (weights.empty()) return;
  if (lock.held()) remove_unfinished();
  write(std::move(weights), fill, telling.checking);
}

// Writes the first file that has nothing usable yet; the old one is removed first, to make room.
void WeightCache::write(std::vector<NewWeight> weights, const Fill& fill, const std::function<void(double)>& checking) {
  const auto unused = static_cast<size_t>(std::find(files_.begin(), files_.end(), nullptr) - files_.begin());
  const size_t file = std::min(unused, kFiles - 1);
  std::error_code ignored;
  if (unused < kFiles) fs::remove(path(file), ignored);
  WeightFileWriter writer(path(file), key_, std::move(weights));
  writer.begin();
  fill(writer);
  writer.commit(checking);
  files_[file] = WeightFile::open(path(file), key_);
  log::info("weight cache: {}: {} weights written, {} bytes", path(file), files_[file]->weights(), writer.file_bytes());
}

// Removes what processes left that were killed while writing. We hold the lock, so nobody writes now.
void WeightCache::remove_unfinished() const {
  std::error_code error;
  for (const std::string& file : names_in(folder_, error)) {
    const bool unfinished = file.starts_with(name_ + ".") && file.ends_with(WeightFileWriter::kUnfinished);
    if (unfinished) fs::remove(folder_ + "/" + file, error);
  }
}

}  // namespace v4rt
