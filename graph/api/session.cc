#include "graph/api/arrays.h"
#include "graph/api/boundary.h"

using v4rt::Code;
using v4rt::api::check_flag;
using v4rt::api::check_reserved;
using v4rt::api::go_on;
using v4rt::api::guarded;
using v4rt::api::require;

v4rt_status v4rt_session_open(v4rt_model* model, v4rt_session** session) {
  return guarded([&] {
    require(model, "v4rt_session_open: model");
    require(session, "v4rt_session_open: session");
    *session = new v4rt_session{v4rt::Session(model->model)};
  });
}

void v4rt_session_close(v4rt_session* session) { delete session; }

v4rt_status v4rt_session_on_progress(v4rt_session* session, int (*progress)(int64_t done, int64_t total, void* user),
                                     void* user) {
  return guarded([&] {
    require(session, "v4rt_session_on_progress: session");
    if (progress == nullptr) return session->session.on_progress({});
    session->session.on_progress(
        [progress, user](int64_t done, int64_t total) { return progress(done, total, user) != 0; });
  });
}

v4rt_status v4rt_session_feed(v4rt_session* session, int32_t slot, const int32_t* tokens, size_t n_tokens,
                              const float** logits) {
  return guarded([&] {
    require(session, "v4rt_session_feed: session");
    require(tokens, "v4rt_session_feed: tokens");
    const std::span<const float> last = session->session.feed({tokens, n_tokens}, slot);
    go_on(last.empty() ? 0 : 1, "v4rt_session_feed");
    if (logits != nullptr) *logits = last.data();
  });
}

namespace {

// Where logits are, for the caller, who waits for them by the queue that he lent.
void hand_over(v4rt::Session& session, const v4rt::Tensor& logits, void** memory, uint64_t* offset) {
  const v4rt::OpenclRange range = v4rt::opencl_range(*logits.values);
  if (session.model().options().device_options.host_opencl.queue == nullptr) session.finish();
  *memory = range.memory;
  *offset = range.offset;
}

std::vector<v4rt::BatchItem> read_batch(const v4rt_batch_item* items, size_t n_items) {
  std::vector<v4rt::BatchItem> batch;
  for (const v4rt_batch_item& item : v4rt::api::read_array(items, n_items, "v4rt_batch_item")) {
    check_reserved(item.reserved, "v4rt_batch_item");
    v4rt::BatchItem& out = batch.emplace_back(v4rt::BatchItem{.slot = item.slot});
    if (item.opencl_tokens == nullptr) {
      require(item.tokens, "v4rt_batch_item: tokens");
      v4rt::check(item.opencl_offset == 0, Code::kInvalidArgument,
                  "v4rt_batch_item.opencl_offset is {}, without opencl_tokens", item.opencl_offset);
      out.tokens = {item.tokens, item.n_tokens};
      continue;
    }
    v4rt::check(item.tokens == nullptr, Code::kInvalidArgument,
                "v4rt_batch_item: tokens and opencl_tokens are both set; leave one of them NULL");
    v4rt::check(item.n_tokens > 0 && item.n_tokens <= INT32_MAX, Code::kInvalidArgument,
                "v4rt_batch_item: {} opencl_tokens; there must be one at least, and no more than a chunk",
                item.n_tokens);
    out.on_device = {item.opencl_tokens, item.opencl_offset, static_cast<int64_t>(item.n_tokens)};
  }
  return batch;
}

}  // namespace

v4rt_status v4rt_session_feed_opencl(v4rt_session* session, int32_t slot, const int32_t* tokens, size_t n_tokens,
                                     void** memory, uint64_t* offset) {
  return guarded([&] {
    require(session, "v4rt_session_feed_opencl: session");
    require(tokens, "v4rt_session_feed_opencl: tokens");
    require(memory, "v4rt_session_feed_opencl: memory");
    require(offset, "v4rt_session_feed_opencl: offset");
    const v4rt::Tensor logits = session->session.feed_on_device({tokens, n_tokens}, slot);
    go_on(logits.values != nullptr ? 1 : 0, "v4rt_session_feed_opencl");
    hand_over(session->session, logits, memory, offset);
  });
}

v4rt_status v4rt_session_feed_batch(v4rt_session* session, const v4rt_batch_item* items, size_t n_items,
                                    const float** logits) {
  return guarded([&] {
    require(session, "v4rt_session_feed_batch: session");
    require(logits, "v4rt_session_feed_batch: logits");
    *logits = session->session.feed_batch(read_batch(items, n_items)).data();
  });
}

v4rt_status v4rt_session_feed_batch_opencl(v4rt_session* session, const v4rt_batch_item* items, size_t n_items,
                                           void** memory, uint64_t* offset) {
  return guarded([&] {
    require(session, "v4rt_session_feed_batch_opencl: session");
    require(memory, "v4rt_session_feed_batch_opencl: memory");
    require(offset, "v4rt_session_feed_batch_opencl: offset");
    hand_over(session->session, session->session.feed_batch_on_device(read_batch(items, n_items)), memory, offset);
  });
}

v4rt_status v4rt_session_score(v4rt_session* session, int32_t slot, const int32_t* tokens, size_t n_tokens,
                               int (*row)(int64_t i, const float* logits, const float* mtp_logits, void* user),
                               void* user) {
  return guarded([&] {
    require(session, "v4rt_session_score: session");
    require(tokens, "v4rt_session_score: tokens");
    v4rt::check(row != nullptr, Code::kInvalidArgument, "v4rt_session_score: row is NULL");
    const auto hand_over = [&](int64_t i, std::span<const float> logits, std::span<const float> mtp_logits) {
      go_on(row(i, logits.data(), mtp_logits.data(), user), "v4rt_session_score");
    };
    session->session.score({tokens, n_tokens}, hand_over, slot);
  });
}

v4rt_status v4rt_session_draft(v4rt_session* session, int32_t slot, int32_t next, int32_t n, int32_t* ids) {
  return guarded([&] {
    require(session, "v4rt_session_draft: session");
    require(ids, "v4rt_session_draft: ids");
    const v4rt::Session::DraftItem item{slot, next};
    std::ranges::copy(session->session.draft({&item, 1}, n), ids);
  });
}

v4rt_status v4rt_session_position(const v4rt_session* session, int32_t slot, int64_t* position) {
  return guarded([&] {
    require(session, "v4rt_session_position: session");
    require(position, "v4rt_session_position: position");
    *position = session->session.position(slot);
  });
}

v4rt_status v4rt_session_reset(v4rt_session* session, int32_t slot) {
  return guarded([&] {
    require(session, "v4rt_session_reset: session");
    session->session.reset(slot);
  });
}

v4rt_status v4rt_session_truncate(v4rt_session* session, int32_t slot, int64_t position) {
  return guarded([&] {
    require(session, "v4rt_session_truncate: session");
    session->session.truncate(position, slot);
  });
}

v4rt_status v4rt_session_checkpoint(v4rt_session* session, int32_t slot) {
  return guarded([&] {
    require(session, "v4rt_session_checkpoint: session");
    session->session.checkpoint(slot);
  });
}

v4rt_status v4rt_session_drop_checkpoint(v4rt_session* session, int32_t slot, int64_t position) {
  return guarded([&] {
    require(session, "v4rt_session_drop_checkpoint: session");
    session->session.drop_checkpoint(position, slot);
  });
}

v4rt_status v4rt_session_fork(v4rt_session* session, int32_t from, int32_t to) {
  return guarded([&] {
    require(session, "v4rt_session_fork: session");
    session->session.fork(from, to);
  });
}

v4rt_status v4rt_snapshot_open(const v4rt_session* session, int32_t slot, v4rt_snapshot** snapshot) {
  return guarded([&] {
    require(session, "v4rt_snapshot_open: session");
    require(snapshot, "v4rt_snapshot_open: snapshot");
    *snapshot = new v4rt_snapshot{session->session.snapshot(slot)};
  });
}

v4rt_status v4rt_snapshot_open_bytes(const void* bytes, size_t n_bytes, v4rt_snapshot** snapshot) {
  return guarded([&] {
    require(bytes, "v4rt_snapshot_open_bytes: bytes");
    require(snapshot, "v4rt_snapshot_open_bytes: snapshot");
    const auto* first = static_cast<const std::byte*>(bytes);
    *snapshot = new v4rt_snapshot{v4rt::snapshot_of({first, first + n_bytes})};
  });
}

v4rt_status v4rt_snapshot_bytes(const v4rt_snapshot* snapshot, const void** bytes, size_t* n_bytes) {
  return guarded([&] {
    require(snapshot, "v4rt_snapshot_bytes: snapshot");
    require(bytes, "v4rt_snapshot_bytes: bytes");
    require(n_bytes, "v4rt_snapshot_bytes: n_bytes");
    *bytes = snapshot->snapshot.bytes.data();
    *n_bytes = snapshot->snapshot.bytes.size();
  });
}

v4rt_status v4rt_session_restore(v4rt_session* session, int32_t slot, const v4rt_snapshot* snapshot) {
  return guarded([&] {
    require(session, "v4rt_session_restore: session");
    require(snapshot, "v4rt_session_restore: snapshot");
    session->session.restore(snapshot->snapshot, slot);
  });
}

void v4rt_snapshot_close(v4rt_snapshot* snapshot) { delete snapshot; }

v4rt_stop v4rt::api::to_stop(StopReason reason) {
  switch (reason) {
    case StopReason::kEndToken: return V4RT_STOP_END_TOKEN;
    case StopReason::kMaxTokens: return V4RT_STOP_MAX_TOKENS;
    case StopReason::kContextFull: return V4RT_STOP_CONTEXT_FULL;
    case StopReason::kCancelled: return V4RT_STOP_CANCELLED;
  }
  return V4RT_STOP_CANCELLED;
}

void v4rt::api::write_generated(const GenerateResult& done, v4rt_stop stop, v4rt_generate_result* result) {
  v4rt_generate_result r{};
  r.stop = stop;
  r.prompt_tokens = done.prompt_tokens;
  r.tokens = done.tokens;
  r.cached_tokens = done.cached_tokens;
  r.drafted = done.drafted;
  r.accepted = done.accepted;
  r.prefill_seconds = done.prefill_seconds;
  r.decode_seconds = done.decode_seconds;
  write_result(r, result, "v4rt_generate_result");
}

v4rt_status v4rt_generate(v4rt_session* session, const int32_t* prompt, size_t n_prompt,
                          const v4rt_generate_options* options, v4rt_sampler* sampler,
                          int (*on_token)(int32_t id, void* user), void* user, v4rt_generate_result* result) {
  return guarded([&] {
    require(session, "v4rt_generate: session");
    require(prompt, "v4rt_generate: prompt");
    v4rt::check(on_token != nullptr, Code::kInvalidArgument, "v4rt_generate: on_token is NULL");
    if (result != nullptr) v4rt::api::check_size(result->struct_size, "v4rt_generate_result");
    const auto o = v4rt::api::read_options(options, "v4rt_generate_options");
    v4rt::check(o.max_tokens >= 0, Code::kInvalidArgument,
                "v4rt_generate_options.max_tokens is {}; it may not be negative", o.max_tokens);
    check_reserved(o.reserved, "v4rt_generate_options");
    check_flag(o.ignore_end_token, "v4rt_generate_options.ignore_end_token");
    const v4rt::V4Config& config = session->session.model().config();
    v4rt::GenerateOptions chosen;
    if (o.max_tokens > 0) chosen.max_tokens = o.max_tokens;
    chosen.draft = o.draft;
    if (o.ignore_end_token == 0) chosen.end_tokens = config.eos_token_ids;

    v4rt::Sampler greedy({}, config.vocab_size);
    const auto done = v4rt::generate(
        session->session, {prompt, n_prompt}, chosen, sampler != nullptr ? sampler->sampler : greedy,
        [&](int32_t id) { return on_token(id, user) != 0; }, o.slot);
    if (result != nullptr) v4rt::api::write_generated(done, v4rt::api::to_stop(done.stop), result);
  });
}
