#include "loaders/files/file_source.h"

#include <algorithm>
#include <filesystem>

#include "ops/core/error.h"
#include "ops/core/folder.h"

namespace v4rt {
namespace {

namespace fs = std::filesystem;

class FolderSource final : public FileSource {
 public:
  FolderSource(std::string folder, FileAccess access) : folder_(std::move(folder)), access_(access) {}

  std::string path(std::string_view name) const override { return (fs::path(folder_) / name).string(); }
  std::string folder() const override { return folder_; }

  bool has(std::string_view name) const override {
    std::error_code error;
    const bool there = fs::exists(path(name), error);
    // In a folder that we may not search, a file may exist or not.
    check(!error, Code::kInvalidArgument, "{}: cannot be read: {}", path(name), error.message());
    return there;
  }

  std::vector<std::string> names() const override {
    std::error_code error;
    std::vector<std::string> names = names_in(folder_, error);
    check(!error, Code::kInvalidArgument, "{}: the folder cannot be read: {}", folder_, error.message());
    std::sort(names.begin(), names.end());
    return names;
  }

  std::shared_ptr<const MappedFile> open(std::string_view name) const override {
    return MappedFile::open(path(name), access_);
  }

 private:
  std::string folder_;
  FileAccess access_;
};

class GivenSource final : public FileSource {
 public:
  explicit GivenSource(std::vector<GivenFile> files) : files_(std::move(files)) {
    std::sort(files_.begin(), files_.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    const auto twice =
        std::adjacent_find(files_.begin(), files_.end(), [](const auto& a, const auto& b) { return a.name == b.name; });
    check(twice == files_.end(), Code::kInvalidArgument, "the file '{}' was given twice",
          twice == files_.end() ? "" : twice->name);
  }

  std::string path(std::string_view name) const override { return fmt::format("given file {}", name); }
  bool has(std::string_view name) const override { return find(name) != nullptr; }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const GivenFile& file : files_) names.push_back(file.name);
    return names;
  }

  std::shared_ptr<const MappedFile> open(std::string_view name) const override {
    const GivenFile* file = find(name);
    check(file != nullptr, Code::kNotFound, "{}: was not given; give it with the others", path(name));
    return file->read ? MappedFile::read_by(path(name), file->size, file->read)
                      : MappedFile::given(path(name), file->bytes);
  }

 private:
  const GivenFile* find(std::string_view name) const {
    const auto found = std::find_if(files_.begin(), files_.end(), [&](const auto& file) { return file.name == name; });
    return found == files_.end() ? nullptr : &*found;
  }

  std::vector<GivenFile> files_;
};

}  // namespace

std::shared_ptr<const FileSource> folder_source(std::string folder, FileAccess access) {
  return std::make_shared<FolderSource>(std::move(folder), access);
}

std::shared_ptr<const FileSource> given_source(std::vector<GivenFile> files) {
  return std::make_shared<GivenSource>(std::move(files));
}

}  // namespace v4rt
