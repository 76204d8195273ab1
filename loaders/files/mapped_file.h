#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace v4rt {

// How the bytes of a file get into memory.
enum class FileAccess : uint8_t {
  kMap,   // page by page, on first access; if the file is cut short, an access raises SIGBUS
  kRead,  // all of them, when it is opened; nothing that happens to the file later matters
};

// A file mapped read-only, or read; its bytes live as long as the last shared_ptr. Safe to share between threads.
class MappedFile {
 public:
  enum class Advice : uint8_t {
    kWillNeed,  // start reading every page that the range touches
    kDontNeed,  // drop the pages that lie wholly inside the range; they are read again when touched
  };

  // Throws Error naming the path: missing, not a plain file, empty, unreadable; to be read and larger than the memory
  // that is available.
  static std::shared_ptr<const MappedFile> open(const std::string& path, FileAccess access = FileAccess::kMap);
  // The same for bytes that are not in a file; `path` is what messages call them. given(): the caller keeps them as
  // long as the object lives. read_by(): `read` gives them, piece by piece in order; it throws if it cannot.
  using ReadFn = std::function<void(uint64_t offset, std::span<std::byte> to)>;
  static std::shared_ptr<const MappedFile> given(std::string path, std::span<const std::byte> bytes);
  static std::shared_ptr<const MappedFile> read_by(std::string path, uint64_t size, const ReadFn& read);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  // The identity of the file when it was opened: its inode, and the time of the last change to data or inode in
  // nanoseconds since 1970, which programs cannot set as they can the time of modification.
  uint64_t inode() const { return inode_; }
  int64_t changed() const { return changed_; }
  bool contains(std::span<const std::byte> range) const;
  bool is_mapped() const { return access_ == FileAccess::kMap; }

  // A hint: `range` must be inside bytes(), and failure does not matter. Does nothing if the file was read.
  void advise(std::span<const std::byte> range, Advice advice) const;

  // Throws Error if the file is mapped and was written to since it was opened, or became shorter than its mapping.
  void check_intact() const;

 private:
  MappedFile(std::string path, int descriptor, FileAccess access)
      : path_(std::move(path)), descriptor_(descriptor), access_(access) {}
  void map(size_t size);
  std::span<std::byte> reserve(size_t size);  // pages of its own
  void read(size_t size);

  std::string path_;
  int descriptor_;  // -1: the bytes are not in a file
  FileAccess access_;
  int64_t modified_ = 0;
  uint64_t inode_ = 0;
  int64_t changed_ = 0;
  std::span<const std::byte> bytes_;
  bool owned_ = true;  // else they are the caller's
};

}  // namespace v4rt
