#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "loaders/files/mapped_file.h"

namespace v4rt {

// The files of a checkpoint by their base names: those of a folder, or a program's own.
class FileSource {
 public:
  virtual ~FileSource() = default;
  virtual std::string path(std::string_view name) const = 0;  // for messages
  virtual bool has(std::string_view name) const = 0;          // throws Error if that cannot be known
  virtual std::vector<std::string> names() const = 0;         // sorted
  virtual std::shared_ptr<const MappedFile> open(std::string_view name) const = 0;
  virtual std::string folder() const { return {}; }  // on disk; empty if it is none
};

// Does not look at the folder before it is asked.
std::shared_ptr<const FileSource> folder_source(std::string folder, FileAccess access);

// A file that a program has: in its memory, which has to stay as it is while a model uses it; or behind `read`, which
// gives `to.size()` bytes from `offset` and is called before the model is open, from the opening thread.
struct GivenFile {
  std::string name;
  std::span<const std::byte> bytes = {};
  uint64_t size = 0;
  std::function<void(uint64_t offset, std::span<std::byte> to)> read = {};  // empty: `bytes` has all
};
std::shared_ptr<const FileSource> given_source(
    std::vector<GivenFile> files);  // throws Error when a name is twice there

}  // namespace v4rt
