#include <filesystem>
#include <string>

#include "graph/api/arrays.h"
#include "graph/api/boundary.h"

using v4rt::Code;
using v4rt::api::guarded;
using v4rt::api::require;
using v4rt::api::write_array;

namespace {

namespace fs = std::filesystem;

// A tokenizer.json itself, the one in a folder, or the one beside a model file.
std::string tokenizer_path(const std::string& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return (fs::path(path) / "tokenizer.json").string();
  if (fs::path(path).extension() == ".json") return path;
  return (fs::path(path).parent_path() / "tokenizer.json").string();
}

}  // namespace

v4rt_status v4rt_tokenizer_open(const char* path, v4rt_tokenizer** tokenizer) {
  return guarded([&] {
    require(path, "v4rt_tokenizer_open: path");
    require(tokenizer, "v4rt_tokenizer_open: tokenizer");
    *tokenizer = new v4rt_tokenizer{v4rt::Tokenizer::open(tokenizer_path(path))};
  });
}

v4rt_status v4rt_tokenizer_open_memory(const char* json, size_t n_bytes, v4rt_tokenizer** tokenizer) {
  return guarded([&] {
    require(json, "v4rt_tokenizer_open_memory: json");
    require(tokenizer, "v4rt_tokenizer_open_memory: tokenizer");
    *tokenizer = new v4rt_tokenizer{v4rt::Tokenizer::parse({json, n_bytes}, "tokenizer.json in memory")};
  });
}

void v4rt_tokenizer_close(v4rt_tokenizer* tokenizer) { delete tokenizer; }

v4rt_status v4rt_tokenizer_encode(const v4rt_tokenizer* tokenizer, const char* text, size_t n_bytes, int32_t special,
                                  int32_t* ids, size_t capacity, size_t* n_ids) {
  return guarded([&] {
    require(tokenizer, "v4rt_tokenizer_encode: tokenizer");
    if (n_bytes > 0) require(text, "v4rt_tokenizer_encode: text");
    require(n_ids, "v4rt_tokenizer_encode: n_ids");
    const std::string_view view = n_bytes > 0 ? std::string_view(text, n_bytes) : std::string_view();
    write_array(tokenizer->tokenizer->encode(view, special != 0), ids, capacity, n_ids, "v4rt_tokenizer_encode: ids");
  });
}

v4rt_status v4rt_tokenizer_decode(const v4rt_tokenizer* tokenizer, const int32_t* ids, size_t n_ids, char* text,
                                  size_t capacity, size_t* n_bytes) {
  return guarded([&] {
    require(tokenizer, "v4rt_tokenizer_decode: tokenizer");
    if (n_ids > 0) require(ids, "v4rt_tokenizer_decode: ids");
    require(n_bytes, "v4rt_tokenizer_decode: n_bytes");
    write_array(tokenizer->tokenizer->decode({ids, n_ids}), text, capacity, n_bytes, "v4rt_tokenizer_decode: text");
  });
}

v4rt_status v4rt_tokenizer_token(const v4rt_tokenizer* tokenizer, int32_t id, const char** bytes, size_t* n_bytes) {
  return guarded([&] {
    require(tokenizer, "v4rt_tokenizer_token: tokenizer");
    require(bytes, "v4rt_tokenizer_token: bytes");
    require(n_bytes, "v4rt_tokenizer_token: n_bytes");
    const int64_t vocab_size = tokenizer->tokenizer->vocab_size();
    v4rt::check(id >= 0 && id < vocab_size, Code::kInvalidArgument, "v4rt_tokenizer_token: id {} is outside [0, {})",
                id, vocab_size);
    const std::string_view token = tokenizer->tokenizer->token_bytes(id);
    *bytes = token.data();
    *n_bytes = token.size();
  });
}
