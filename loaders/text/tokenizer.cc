#include "loaders/text/tokenizer.h"

#include <numeric>

#include "loaders/files/json_file.h"
#include "loaders/text/pretokenizer.h"
#include "loaders/text/tokenizer_added.h"
#include "loaders/text/tokenizer_bpe.h"
#include "loaders/text/tokenizer_file.h"
#include "ops/core/error.h"

namespace v4rt {

struct Tokenizer::Impl {
  Impl(TokenizerFile file, const std::string& source)
      : tokens(std::move(file.tokens)),
        bpe(file.byte_ids, file.merges),
        pretokenizer(file.splits, source),
        added(std::move(file.added)) {}

  void encode_text(std::string_view text, SplitMatcher& matcher, std::vector<int32_t>& ids) const {
    for (const std::string_view piece : pretokenizer.split(text, matcher)) bpe.encode(piece, ids);
  }

  std::vector<std::string> tokens;  // bytes by id
  Bpe bpe;
  Pretokenizer pretokenizer;
  AddedTokens added;
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

std::shared_ptr<const Tokenizer> Tokenizer::open(const std::string& tokenizer_json_path) {
  return parse(read_text_file(tokenizer_json_path), tokenizer_json_path);
}

std::shared_ptr<const Tokenizer> Tokenizer::parse(std::string_view json, std::string_view source_name) {
  const std::string source(source_name);
  auto impl = std::make_unique<Impl>(read_tokenizer_json(json, source), source);
  return std::shared_ptr<const Tokenizer>(new Tokenizer(std::move(impl)));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool added) const {
  std::vector<int32_t> ids;
  SplitMatcher matcher(text.size());
  size_t done = 0;
  while (added) {
    const auto match = impl_->added.find(text, done);
    if (!match) break;
    impl_->encode_text(text.substr(done, match->begin - done), matcher, ids);
    ids.push_back(match->id);
    done = match->begin + match->size;
  }
  impl_->encode_text(text.substr(done), matcher, ids);
  return ids;
}

std::vector<int32_t> Tokenizer::encode(std::span<const TextPart> parts) const {
  std::vector<int32_t> ids;
  std::string text;
  SplitMatcher matcher(std::accumulate(parts.begin(), parts.end(), size_t{0},
                                       [](size_t sum, const TextPart& part) { return sum + part.text.size(); }));
  for (const TextPart& part : parts) {
    if (!part.control) {
      text += part.text;
      continue;
    }
    const std::optional<int32_t> id = find_added(part.text);
    check(id.has_value(), Code::kUnsupported, "the tokenizer has no control token {}", part.text);
    impl_->encode_text(text, matcher, ids);
    ids.push_back(*id);
    text.clear();
  }
  impl_->encode_text(text, matcher, ids);
  return ids;
}

std::vector<std::string> Tokenizer::pretokenize(std::string_view text) const {
  SplitMatcher matcher(text.size());
  const auto pieces = impl_->pretokenizer.split(text, matcher);
  return {pieces.begin(), pieces.end()};
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::string bytes;
  for (const int32_t id : ids) bytes += token_bytes(id);
  return bytes;
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
  return id >= 0 && id < vocab_size() ? std::string_view(impl_->tokens[static_cast<size_t>(id)]) : std::string_view();
}

std::optional<int32_t> Tokenizer::find_added(std::string_view content) const { return impl_->added.id_of(content); }

bool Tokenizer::is_added(int32_t id) const { return impl_->added.contains(id); }

int64_t Tokenizer::vocab_size() const { return static_cast<int64_t>(impl_->tokens.size()); }

}  // namespace v4rt
