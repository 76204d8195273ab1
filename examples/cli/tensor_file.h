#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace v4rt::cli {

// A safetensors file of F32 matrices, written row by row in any order. It appears under its name when commit() has run,
// and not at all otherwise.
class TensorFile {
 public:
  struct Matrix {
    std::string name;
    int64_t rows, columns;
  };

  TensorFile(std::string path, std::vector<Matrix> matrices);  // throws Error naming the path

  void write_row(size_t matrix, int64_t row, std::span<const float> values);
  void commit();

 private:
  void write(std::span<const std::byte> bytes, int64_t offset);
  [[noreturn]] void fail_to(std::string_view what) const;

  // Removed from disk unless it was renamed.
  struct Temporary {
    std::string path;
    int file = -1;
    explicit Temporary(const std::string& final_path);
    ~Temporary();
    Temporary(const Temporary&) = delete;
    Temporary& operator=(const Temporary&) = delete;
  };

  std::string path_;
  Temporary temporary_;
  std::vector<int64_t> offsets_;
};

}  // namespace v4rt::cli
