#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "examples/cli/output_file.h"

namespace v4rt::cli {

// A safetensors file of F32 matrices, written row by row in any order.
class TensorFile {
 public:
  struct Matrix {
    std::string name;
    int64_t rows, columns;
  };

  // Like OutputFile; reserves room for the whole file.
  TensorFile(std::string path, const std::vector<std::string>& inputs, std::span<const Matrix> matrices);

  void write_row(size_t matrix, int64_t row, std::span<const float> values);
  void commit() { file_.commit(); }

 private:
  OutputFile file_;
  std::vector<int64_t> offsets_;
};

}  // namespace v4rt::cli
