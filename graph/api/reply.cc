#include "graph/api/boundary.h"
#include "loaders/text/reply_parser.h"

using v4rt::ReplyPiece;
using v4rt::api::check_flag;
using v4rt::api::guarded;
using v4rt::api::require;

struct v4rt_reply {
  std::shared_ptr<const v4rt::Tokenizer> tokenizer;
  v4rt::ReplyParser parser;
  std::vector<ReplyPiece> pieces = {};
};

namespace {

using PieceFn = int (*)(int32_t kind, const char* text, size_t n_bytes, void* user);

v4rt_piece_kind kind_of(ReplyPiece::Kind kind) {
  switch (kind) {
    case ReplyPiece::Kind::kReasoning: return V4RT_PIECE_REASONING;
    case ReplyPiece::Kind::kContent: return V4RT_PIECE_CONTENT;
    case ReplyPiece::Kind::kCall: return V4RT_PIECE_CALL;
    case ReplyPiece::Kind::kArguments: return V4RT_PIECE_ARGUMENTS;
    case ReplyPiece::Kind::kCallEnd: return V4RT_PIECE_CALL_END;
  }
  return V4RT_PIECE_CONTENT;
}

template <class Read>
v4rt_status hand_over(v4rt_reply* reply, PieceFn piece, void* user, std::string_view what, const Read& read) {
  return guarded([&] {
    require(reply, fmt::format("{}: reply", what));
    v4rt::check(piece != nullptr, v4rt::Code::kInvalidArgument, "{}: piece is NULL", what);
    reply->pieces.clear();
    read(reply->parser, reply->pieces);
    for (const ReplyPiece& p : reply->pieces)
      v4rt::api::go_on(piece(kind_of(p.kind), p.text.data(), p.text.size(), user), what);
  });
}

}  // namespace

v4rt_status v4rt_reply_open(const v4rt_tokenizer* tokenizer, const v4rt_reply_options* options, v4rt_reply** reply) {
  return guarded([&] {
    require(tokenizer, "v4rt_reply_open: tokenizer");
    require(reply, "v4rt_reply_open: reply");
    const auto o = v4rt::api::read_options(options, "v4rt_reply_options");
    check_flag(o.thinking, "v4rt_reply_options.thinking");
    check_flag(o.calls, "v4rt_reply_options.calls");
    const auto kind = o.thinking != 0 ? v4rt::ReplyKind::kThinking : v4rt::ReplyKind::kChat;
    *reply = new v4rt_reply{tokenizer->tokenizer, v4rt::ReplyParser(*tokenizer->tokenizer, kind, o.calls != 0)};
  });
}

void v4rt_reply_close(v4rt_reply* reply) { delete reply; }

v4rt_status v4rt_reply_push(v4rt_reply* reply, int32_t token, PieceFn piece, void* user) {
  return hand_over(reply, piece, user, "v4rt_reply_push",
                   [&](v4rt::ReplyParser& parser, std::vector<ReplyPiece>& out) { parser.push(token, out); });
}

v4rt_status v4rt_reply_end(v4rt_reply* reply, PieceFn piece, void* user) {
  return hand_over(reply, piece, user, "v4rt_reply_end",
                   [&](v4rt::ReplyParser& parser, std::vector<ReplyPiece>& out) { parser.flush(out); });
}
