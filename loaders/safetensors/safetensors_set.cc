#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "loaders/files/json_file.h"
#include "loaders/safetensors/safetensors.h"
#include "ops/core/error.h"
#include "ops/core/log.h"

namespace v4rt {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr std::string_view kExtension = ".safetensors";

// "model-00003-of-00046.safetensors": stem "model", number 3, count 46.
struct ShardName {
  std::string stem;
  int number = 0, count = 0;
  std::string text(int i) const { return fmt::format("{}-{:05}-of-{:05}{}", stem, i, count, kExtension); }
};

std::optional<int> five_digits(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.size() != 5 || error != std::errc() || end != text.data() + text.size() || value < 1) return std::nullopt;
  return value;
}

std::optional<ShardName> shard_name(std::string_view name) {
  constexpr size_t kTail = 15;  // "-00003-of-00046"
  if (!name.ends_with(kExtension)) return std::nullopt;
  name.remove_suffix(kExtension.size());
  if (name.size() <= kTail) return std::nullopt;
  const std::string_view tail = name.substr(name.size() - kTail);
  const auto number = five_digits(tail.substr(1, 5)), count = five_digits(tail.substr(10, 5));
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || !number || !count || *number > *count) return std::nullopt;
  return ShardName{std::string(name.substr(0, name.size() - kTail)), *number, *count};
}

bool is_folder(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

// Hidden files are ignored: some systems put notes beside files ("._model.safetensors").
std::vector<std::string> safetensors_names(const FileSource& source) {
  std::vector<std::string> names = source.names();
  std::erase_if(names, [](const std::string& n) { return !n.ends_with(kExtension) || n.starts_with('.'); });
  return names;
}

// First few of `names`, for a message.
std::string some(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(names.size(), 4); ++i) text += (i == 0 ? "" : ", ") + printable(names[i]);
  if (names.size() > 4) text += fmt::format(" and {} more", names.size() - 4);
  return text;
}

// A name that leaves the folder could read any file of the machine, and control characters would reach the terminal
// with a message.
void check_inside(const std::string& index_path, const std::string& file) {
  const bool plain = !file.empty() && file != "." && file != ".." && file.size() <= 255 &&
                     std::none_of(file.begin(), file.end(),
                                  [](unsigned char c) { return c < 0x20 || c == 0x7f || c == '/' || c == '\\'; });
  check(plain, Code::kCorrupt, "{}: names the file '{}'; an index may only name files of its own folder", index_path,
        printable(file));
}

// file -> names of its tensors, out of the index's weight_map.
std::map<std::string, std::vector<std::string>> read_index(const FileSource& source) {
  const std::string index_path = source.path(kIndexName);
  const Json index = parse_json(text_of(*source.open(kIndexName)), index_path);
  const Json* const map = index.find("weight_map");
  check(map != nullptr && map->is_object() && !map->object().empty(), Code::kCorrupt,
        "{}: has no weight_map object; restore the index, or remove it if all shards are there", index_path);
  std::map<std::string, std::vector<std::string>> files;
  for (const auto& [tensor, file] : map->object()) {
    check(file.is_string(), Code::kCorrupt, "{}: weight_map: tensor '{}' has no file name", index_path,
          printable(tensor));
    files[file.string()].push_back(tensor);
  }
  for (const auto& [file, tensors] : files) check_inside(index_path, file);
  return files;
}

}  // namespace

std::vector<StoredTensor> SafetensorsSet::map_file(std::string_view name) {
  files_.push_back(source_->open(name));
  std::vector<StoredTensor> tensors = parse_safetensors(files_.back()->bytes(), files_.back()->path());
  for (StoredTensor& t : tensors) t.file = files_.size() - 1;
  return tensors;
}

void SafetensorsSet::add(StoredTensor tensor) {
  const auto [at, is_new] = by_name_.emplace(tensor.name, tensors_.size());
  if (!is_new) {
    fail(Code::kCorrupt, "tensor '{}' is in two files: {} and {}; remove the file that does not belong to the model",
         printable(tensor.name), files_[tensors_[at->second].file]->path(), files_[tensor.file]->path());
  }
  tensors_.push_back(std::move(tensor));
}

void SafetensorsSet::open_single(std::string_view name) {
  for (StoredTensor& t : map_file(name)) add(std::move(t));
  container_ = "safetensors, 1 file";
}

// Takes only the tensors in the map: a shard may hold leftovers. A weight and its scale may be in different shards.
void SafetensorsSet::open_indexed() {
  for (const auto& [file, wanted] : read_index(*source_)) {
    const std::string path = source_->path(file);
    check(source_->has(file), Code::kNotFound,
          "{}: the shard is missing; {} places tensor '{}' in it; fetch it into the folder", path, kIndexName,
          printable(wanted.front()));
    std::vector<StoredTensor> tensors = map_file(file);
    std::unordered_map<std::string_view, StoredTensor*> by_name;
    for (StoredTensor& t : tensors) by_name.emplace(t.name, &t);
    for (const std::string& name : wanted) {
      const auto found = by_name.find(name);
      check(found != by_name.end(), Code::kCorrupt,
            "{}: has no tensor '{}', although {} says so; fetch shard and index again", path, printable(name),
            kIndexName);
      add(*found->second);
    }
  }
  container_ = fmt::format("safetensors, {} shard{} with index", files_.size(), files_.size() == 1 ? "" : "s");
}

void SafetensorsSet::open_shards(const std::vector<std::string>& names) {
  const ShardName first = *shard_name(names.front());
  std::set<int> there;
  for (const std::string& name : names) {
    const ShardName shard = *shard_name(name);
    check(shard.stem == first.stem && shard.count == first.count, Code::kInvalidArgument,
          "{}: holds shards of more than one model ({} and {}) and no index; keep one model in a folder", where_,
          names.front(), name);
    there.insert(shard.number);
  }
  std::vector<std::string> missing;
  for (int i = 1; i <= first.count; ++i) {
    if (there.count(i) == 0) missing.push_back(first.text(i));
  }
  check(missing.empty(), Code::kNotFound, "{}: {} of {} shards missing: {}; fetch them into the folder", where_,
        missing.size(), first.count, some(missing));
  for (int i = 1; i <= first.count; ++i) {
    for (StoredTensor& t : map_file(first.text(i))) add(std::move(t));
  }
  container_ = fmt::format("safetensors, {} shard{} without index", first.count, first.count == 1 ? "" : "s");
}

void SafetensorsSet::open_all() {
  constexpr std::string_view kSingle = "model.safetensors";
  const bool has_index = source_->has(kIndexName);
  if (source_->has(kSingle)) {
    if (has_index)
      log::warn("{}: is not used: the folder has model.safetensors too; remove the other one",
                source_->path(kIndexName));
    return open_single(kSingle);
  }
  if (has_index) return open_indexed();
  const std::vector<std::string> names = safetensors_names(*source_);
  check(!names.empty(), Code::kNotFound, "{}: no .safetensors file in the folder; give the folder of a checkpoint",
        where_);
  std::vector<std::string> shards;
  std::copy_if(names.begin(), names.end(), std::back_inserter(shards),
               [](const auto& n) { return shard_name(n).has_value(); });
  if (!shards.empty()) return open_shards(shards);
  check(names.size() == 1, Code::kInvalidArgument,
        "{}: several .safetensors files ({}) and no {}; give the file itself if one of them is the whole model", where_,
        some(names), kIndexName);
  open_single(names.front());
}

std::shared_ptr<const SafetensorsSet> SafetensorsSet::open(std::shared_ptr<const FileSource> source) {
  std::string where = source->folder().empty() ? "the given files" : source->folder();
  std::shared_ptr<SafetensorsSet> set(new SafetensorsSet(std::move(source), std::move(where)));
  set->open_all();
  return set;
}

std::shared_ptr<const SafetensorsSet> SafetensorsSet::open(const std::string& path, FileAccess access) {
  if (is_folder(path)) return open(folder_source(path, access));
  const fs::path file(path);
  std::string folder = file.has_parent_path() ? file.parent_path().string() : ".";
  const std::string name = file.filename().string();
  auto source = folder_source(folder, access);
  check(source->has(name), Code::kNotFound, "{}: no such file or folder; check the path", path);
  check(name.ends_with(kExtension), Code::kInvalidArgument,
        "{}: not a .safetensors file; give the folder of the checkpoint", path);
  const auto shard = shard_name(name);
  check(!shard || shard->count == 1, Code::kInvalidArgument, "{}: is one of {} shards; give the folder: {}", path,
        shard ? shard->count : 0, folder);
  std::shared_ptr<SafetensorsSet> set(new SafetensorsSet(std::move(source), std::move(folder)));
  set->open_single(name);
  return set;
}

const StoredTensor* SafetensorsSet::find(std::string_view name) const {
  const auto found = by_name_.find(std::string(name));
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

std::string SafetensorsSet::describe(const StoredTensor& tensor) const {
  return fmt::format("{}: tensor '{}'", files_[tensor.file]->path(), printable(tensor.name));
}

}  // namespace v4rt
