#include <math.h>
#include <stdlib.h>

#include "tests/api/api_test.h"

void test_session(v4rt_model* model) {
  v4rt_session* session = NULL;
  v4rt_snapshot* snapshot = NULL;
  const size_t vocabulary = 2048 * sizeof(float);
  const float* logits = NULL;
  int64_t position = -1;
  FAILS(v4rt_session_open(NULL, &session), V4RT_INVALID_ARGUMENT, "model");
  FAILS(v4rt_session_open(model, NULL), V4RT_INVALID_ARGUMENT, "session");
  OK(v4rt_session_open(model, &session));
  if (session == NULL) return;
  FAILS(v4rt_session_feed(NULL, 0, kPrompt, 1, &logits), V4RT_INVALID_ARGUMENT, "session");
  FAILS(v4rt_session_feed(session, 0, NULL, 1, &logits), V4RT_INVALID_ARGUMENT, "tokens");
  EXPECT(v4rt_session_feed(session, 0, kPrompt, 0, &logits) == V4RT_INVALID_ARGUMENT);
  const int32_t outside[] = {5, 2048};
  FAILS(v4rt_session_feed(session, 0, outside, 2, &logits), V4RT_INVALID_ARGUMENT, "2048");
  const int32_t negative[] = {-3};
  FAILS(v4rt_session_feed(session, 0, negative, 1, &logits), V4RT_INVALID_ARGUMENT, "-3");
  OK(v4rt_session_position(session, 0, &position));
  EXPECT(position == 0);
  FAILS(v4rt_session_position(session, 0, NULL), V4RT_INVALID_ARGUMENT, "position");

  /* Whole, then token by token: the same bits. */
  float* whole = malloc(vocabulary);
  if (whole == NULL) exit(1);
  OK(v4rt_session_feed(session, 0, kPrompt, kPromptLength, &logits));
  memcpy(whole, logits, vocabulary);
  OK(v4rt_session_reset(session, 0));
  for (int i = 0; i < kPromptLength; ++i) OK(v4rt_session_feed(session, 0, kPrompt + i, 1, &logits));
  EXPECT(memcmp(whole, logits, vocabulary) == 0);

  /* A snapshot taken midway, restored here and elsewhere. */
  OK(v4rt_session_reset(session, 0));
  OK(v4rt_session_feed(session, 0, kPrompt, 6, NULL));
  OK(v4rt_snapshot_open(session, 0, &snapshot));
  OK(v4rt_session_feed(session, 0, kPrompt, 9, NULL));
  OK(v4rt_session_restore(session, 0, snapshot));
  OK(v4rt_session_position(session, 0, &position));
  EXPECT(position == 6);
  OK(v4rt_session_feed(session, 0, kPrompt + 6, kPromptLength - 6, &logits));
  EXPECT(memcmp(whole, logits, vocabulary) == 0);
  v4rt_session* other = NULL;
  OK(v4rt_session_open(model, &other));
  OK(v4rt_session_restore(other, 0, snapshot));
  OK(v4rt_session_feed(other, 0, kPrompt + 6, kPromptLength - 6, &logits));
  EXPECT(memcmp(whole, logits, vocabulary) == 0);
  FAILS(v4rt_snapshot_open(session, 0, NULL), V4RT_INVALID_ARGUMENT, "snapshot");
  FAILS(v4rt_snapshot_open(NULL, 0, &snapshot), V4RT_INVALID_ARGUMENT, "session");
  FAILS(v4rt_session_restore(session, 0, NULL), V4RT_INVALID_ARGUMENT, "snapshot");
  FAILS(v4rt_session_reset(NULL, 0), V4RT_INVALID_ARGUMENT, "session");
  free(whole);

  /* One token more than the context holds. */
  static int32_t many[513];
  FAILS(v4rt_session_feed(session, 0, many, 513, &logits), V4RT_INVALID_ARGUMENT, "512");
  OK(v4rt_session_position(session, 0, &position));
  EXPECT(position == kPromptLength);

  v4rt_snapshot_close(snapshot);
  v4rt_snapshot_close(NULL);
  v4rt_session_close(other);
  v4rt_session_close(session);
  v4rt_session_close(NULL);
}

static int stop_after(int64_t done, int64_t total, void* user) {
  EXPECT(total == 30 && done < total);
  return done < *(const int64_t*)user;
}

/* A prompt that is stopped between chunks; the session goes on from there, to the same bits. */
void test_cancelled_prompt(v4rt_model* model) {
  v4rt_session* session = NULL;
  int32_t prompt[30];
  for (int i = 0; i < 30; ++i) prompt[i] = kPrompt[i % kPromptLength];
  const float* logits = NULL;
  int64_t at = 16, position = 0;
  OK(v4rt_session_open(model, &session));
  if (session == NULL) return;
  OK(v4rt_session_feed(session, 0, prompt, 30, &logits));
  float* whole = malloc(2048 * sizeof(float));
  if (whole == NULL) exit(1);
  memcpy(whole, logits, 2048 * sizeof(float));
  OK(v4rt_session_reset(session, 0));
  OK(v4rt_session_on_progress(session, stop_after, &at));
  FAILS(v4rt_session_feed(session, 0, prompt, 30, &logits), V4RT_CANCELLED, "stopped by the caller");
  OK(v4rt_session_position(session, 0, &position));
  EXPECT(position == 16);
  OK(v4rt_session_on_progress(session, NULL, NULL));
  OK(v4rt_session_feed(session, 0, prompt + 16, 14, &logits));
  EXPECT(memcmp(whole, logits, 2048 * sizeof(float)) == 0);
  FAILS(v4rt_session_on_progress(NULL, NULL, NULL), V4RT_INVALID_ARGUMENT, "session");
  free(whole);
  v4rt_session_close(session);
}

struct Rows {
  int64_t rows, mtp, stop_at;
  float last[2048];
};

static int keep_row(int64_t i, const float* logits, const float* mtp_logits, void* user) {
  struct Rows* rows = user;
  EXPECT(i == rows->rows);
  ++rows->rows;
  if (mtp_logits != NULL) ++rows->mtp;
  memcpy(rows->last, logits, sizeof(rows->last));
  return rows->rows != rows->stop_at;
}

void test_score(const char* path, const char* device) {
  v4rt_model* model = NULL;
  v4rt_session* session = NULL;
  const v4rt_model_options options = {
      .struct_size = sizeof(options), .device = device, .context = 64, .chunk = 8, .mtp = 1};
  OK(v4rt_model_open(path, &options, &model));
  if (model == NULL) return;
  OK(v4rt_session_open(model, &session));
  static struct Rows rows, few = {.stop_at = 2};
  const float* logits = NULL;
  OK(v4rt_session_score(session, 0, kPrompt, kPromptLength, keep_row, &rows));
  EXPECT(rows.rows == kPromptLength && rows.mtp == kPromptLength - 1);
  OK(v4rt_session_reset(session, 0));
  OK(v4rt_session_feed(session, 0, kPrompt, kPromptLength, &logits));
  EXPECT(memcmp(rows.last, logits, sizeof(rows.last)) == 0);
  FAILS(v4rt_session_score(session, 0, kPrompt, 5, keep_row, &few), V4RT_CANCELLED, "v4rt_session_score");
  EXPECT(few.rows == 2);
  FAILS(v4rt_session_score(session, 0, kPrompt, 5, NULL, NULL), V4RT_INVALID_ARGUMENT, "row");
  FAILS(v4rt_session_score(session, 0, NULL, 5, keep_row, &few), V4RT_INVALID_ARGUMENT, "tokens");
  v4rt_session_close(session);
  v4rt_model_close(model);
}

struct Tokens {
  int32_t ids[32];
  int count, stop_after;
};

static int keep_token(int32_t id, void* user) {
  struct Tokens* tokens = user;
  tokens->ids[tokens->count++] = id;
  return tokens->count != tokens->stop_after;
}

/* logits: 3 for tokens 77 and 78, 0 for all others. */
static void test_sampler_options(v4rt_model* model, const float* logits) {
  v4rt_sampler* sampler = NULL;
  const v4rt_logit_bias bias[] = {{9, 4.5f}, {77, -100}};
  v4rt_sampler_options options = {.struct_size = sizeof(options),
                                  .repetition_penalty = 2,
                                  .presence_penalty = 0.25f,
                                  .frequency_penalty = 0.25f,
                                  .logprobs = 1,
                                  .top_logprobs = 2,
                                  .logit_bias = bias,
                                  .n_logit_bias = 2};
  OK(v4rt_sampler_open(model, &options, &sampler));
  if (sampler == NULL) return;
  /* 9: 4.5, then 4.5 / 2 - 0.5, less than the 3 of 78; then 78 is at 1 */
  const int32_t expected[] = {9, 78, 9, 9};
  const v4rt_token_logprob* logprobs = NULL;
  size_t n = 7;
  int32_t id = -1;
  OK(v4rt_sampler_logprobs(sampler, &logprobs, &n));
  EXPECT(n == 0);
  for (int i = 0; i < 4; ++i) {
    OK(v4rt_sampler_sample(sampler, logits, 2048, &id));
    EXPECT(id == expected[i]);
    OK(v4rt_sampler_logprobs(sampler, &logprobs, &n));
    EXPECT(n == 3 && logprobs[0].id == id && logprobs[1].id == 77 && logprobs[2].id == 78);
    EXPECT(logprobs[1].logprob == logprobs[2].logprob && logprobs[0].logprob <= logprobs[1].logprob);
  }
  OK(v4rt_sampler_forget(sampler));
  OK(v4rt_sampler_sample(sampler, logits, 2048, &id));
  EXPECT(id == 9);
  OK(v4rt_sampler_forget(sampler));
  const int32_t read = 9;
  OK(v4rt_sampler_begin(sampler, &read, 1));
  OK(v4rt_sampler_sample(sampler, logits, 2048, &id));
  EXPECT(id == 78);
  FAILS(v4rt_sampler_begin(sampler, NULL, 1), V4RT_INVALID_ARGUMENT, "tokens");
  FAILS(v4rt_sampler_begin(NULL, &read, 1), V4RT_INVALID_ARGUMENT, "sampler");
  FAILS(v4rt_sampler_forget(NULL), V4RT_INVALID_ARGUMENT, "sampler");
  FAILS(v4rt_sampler_logprobs(sampler, NULL, &n), V4RT_INVALID_ARGUMENT, "logprobs");
  FAILS(v4rt_sampler_logprobs(sampler, &logprobs, NULL), V4RT_INVALID_ARGUMENT, "n is NULL");
  v4rt_sampler_close(sampler);

  options.logit_bias = NULL;
  FAILS(v4rt_sampler_open(model, &options, &sampler), V4RT_INVALID_ARGUMENT, "logit_bias");
  options.n_logit_bias = 0;
  options.top_logprobs = 21;
  FAILS(v4rt_sampler_open(model, &options, &sampler), V4RT_INVALID_ARGUMENT, "21");
  options.top_logprobs = 0;
  options.min_p = 2;
  FAILS(v4rt_sampler_open(model, &options, &sampler), V4RT_INVALID_ARGUMENT, "min_p");
  options.min_p = 0;
  options.reserved = 1;
  FAILS(v4rt_sampler_open(model, &options, &sampler), V4RT_UNSUPPORTED, "reserved");
}

void test_sampler(v4rt_model* model) {
  v4rt_sampler* sampler = NULL;
  v4rt_sampler_options options = {.struct_size = sizeof(options), .temperature = -1};
  FAILS(v4rt_sampler_open(model, &options, &sampler), V4RT_INVALID_ARGUMENT, "temperature");
  options.temperature = 1;
  options.top_p = 2;
  FAILS(v4rt_sampler_open(model, &options, &sampler), V4RT_INVALID_ARGUMENT, "top_p");
  FAILS(v4rt_sampler_open(NULL, NULL, &sampler), V4RT_INVALID_ARGUMENT, "model");
  FAILS(v4rt_sampler_open(model, NULL, NULL), V4RT_INVALID_ARGUMENT, "sampler");
  OK(v4rt_sampler_open(model, NULL, &sampler));
  if (sampler == NULL) return;

  float* logits = calloc(2048, sizeof(float));
  if (logits == NULL) exit(1);
  int32_t id = -1;
  logits[77] = 3;
  logits[78] = 3;
  OK(v4rt_sampler_sample(sampler, logits, 2048, &id));
  EXPECT(id == 77);
  FAILS(v4rt_sampler_sample(sampler, logits, 2047, &id), V4RT_INVALID_ARGUMENT, "2047");
  FAILS(v4rt_sampler_sample(sampler, NULL, 2048, &id), V4RT_INVALID_ARGUMENT, "logits");
  FAILS(v4rt_sampler_sample(sampler, logits, 2048, NULL), V4RT_INVALID_ARGUMENT, "id");
  test_sampler_options(model, logits);
  logits[5] = NAN;
  FAILS(v4rt_sampler_sample(sampler, logits, 2048, &id), V4RT_CORRUPT, "token 5");
  free(logits);
  v4rt_sampler_close(sampler);
  v4rt_sampler_close(NULL);
}

/* Each session below reads the prompt and makes tokens: the same as feeding and taking the largest logit by hand. */
void test_generate(v4rt_model* model) {
  v4rt_session* session = NULL;
  v4rt_sampler* greedy = NULL;
  OK(v4rt_session_open(model, &session));
  OK(v4rt_sampler_open(model, NULL, &greedy));
  if (session == NULL || greedy == NULL) return;
  v4rt_generate_options options = {.struct_size = sizeof(options), .max_tokens = 12, .ignore_end_token = 1};
  v4rt_generate_result result = {.struct_size = sizeof(result)};
  struct Tokens tokens = {.count = 0};
  OK(v4rt_generate(session, kPrompt, kPromptLength, &options, NULL, keep_token, &tokens, &result));
  EXPECT(tokens.count == 12 && result.tokens == 12 && result.prompt_tokens == kPromptLength);
  EXPECT(result.stop == V4RT_STOP_MAX_TOKENS && result.prefill_seconds > 0 && result.decode_seconds > 0);

  const float* logits = NULL;
  OK(v4rt_session_reset(session, 0));
  OK(v4rt_session_feed(session, 0, kPrompt, kPromptLength, &logits));
  for (int i = 0; i < 12; ++i) {
    int32_t id = -1;
    OK(v4rt_sampler_sample(greedy, logits, 2048, &id));
    EXPECT(id == tokens.ids[i]);
    OK(v4rt_session_feed(session, 0, &id, 1, &logits));
  }

  OK(v4rt_session_reset(session, 0));
  struct Tokens few = {.stop_after = 3};
  OK(v4rt_generate(session, kPrompt, kPromptLength, &options, greedy, keep_token, &few, &result));
  EXPECT(few.count == 3 && result.tokens == 3 && result.stop == V4RT_STOP_CANCELLED);
  int64_t position = 0;
  OK(v4rt_session_position(session, 0, &position));
  EXPECT(position == kPromptLength + 3);

  FAILS(v4rt_generate(NULL, kPrompt, 1, NULL, NULL, keep_token, &few, NULL), V4RT_INVALID_ARGUMENT, "session");
  FAILS(v4rt_generate(session, NULL, 1, NULL, NULL, keep_token, &few, NULL), V4RT_INVALID_ARGUMENT, "prompt");
  FAILS(v4rt_generate(session, kPrompt, 1, NULL, NULL, NULL, NULL, NULL), V4RT_INVALID_ARGUMENT, "on_token");
  options.reserved = 3;
  FAILS(v4rt_generate(session, kPrompt, 1, &options, NULL, keep_token, &few, NULL), V4RT_UNSUPPORTED, "reserved");
  options.reserved = 0;
  options.max_tokens = -5;
  FAILS(v4rt_generate(session, kPrompt, 1, &options, NULL, keep_token, &few, NULL), V4RT_INVALID_ARGUMENT, "-5");
  result.struct_size = 0;
  FAILS(v4rt_generate(session, kPrompt, 1, NULL, NULL, keep_token, &few, &result), V4RT_INVALID_ARGUMENT,
        "struct_size");
  v4rt_sampler_close(greedy);
  v4rt_session_close(session);
}

/* Three sequences: batches, going back, copies, drafts, and snapshots as bytes give the bits of one alone. */
void test_sequences(const char* path, const char* device) {
  enum { kRow = 2048 * sizeof(float) };
  v4rt_model* model = NULL;
  v4rt_session* session = NULL;
  v4rt_model_options options = {.struct_size = sizeof(options), .device = device, .context = 64, .chunk = 8};
  options.slots = 3, options.draft = 2;
  OK(v4rt_model_open(path, &options, &model));
  OK(v4rt_session_open(model, &session));
  if (session == NULL) return;
  static float eight[2048], nine[2048];
  const float* logits = NULL;
  int64_t position = 0;
  OK(v4rt_session_feed(session, 0, kPrompt, 8, &logits));
  memcpy(eight, logits, kRow);
  OK(v4rt_session_feed(session, 0, kPrompt + 8, 1, &logits));
  memcpy(nine, logits, kRow);

  v4rt_batch_item items[] = {
      {.struct_size = sizeof(v4rt_batch_item), .tokens = kPrompt + 7, .n_tokens = 1, .slot = 1},
      {.struct_size = sizeof(v4rt_batch_item), .tokens = kPrompt, .n_tokens = 5, .slot = 2},
  };
  OK(v4rt_session_feed(session, 1, kPrompt, 7, NULL));
  OK(v4rt_session_feed_batch(session, items, 2, &logits));
  EXPECT(memcmp(logits, eight, kRow) == 0);
  FAILS(v4rt_session_feed_batch(session, items, 0, &logits), V4RT_INVALID_ARGUMENT, "no sequences");
  FAILS(v4rt_session_feed_batch(session, NULL, 1, &logits), V4RT_INVALID_ARGUMENT, "NULL");
  items[1].slot = 3;
  FAILS(v4rt_session_feed_batch(session, items, 2, &logits), V4RT_INVALID_ARGUMENT, "3");
  items[1].reserved = 9;
  FAILS(v4rt_session_feed_batch(session, items, 2, &logits), V4RT_UNSUPPORTED, "reserved is 9");

  /* Back by one, and to a checkpoint that is further away than rewind. */
  OK(v4rt_session_checkpoint(session, 1));
  OK(v4rt_session_truncate(session, 0, 8));
  OK(v4rt_session_feed(session, 0, kPrompt + 8, 1, &logits));
  EXPECT(memcmp(logits, nine, kRow) == 0);
  for (int i = 0; i < 20; ++i) OK(v4rt_session_feed(session, 1, kPrompt, 1, NULL));
  FAILS(v4rt_session_truncate(session, 1, 9), V4RT_INVALID_ARGUMENT, "8");
  OK(v4rt_session_truncate(session, 1, 8));
  OK(v4rt_session_fork(session, 1, 2));
  OK(v4rt_session_feed(session, 2, kPrompt + 8, 1, &logits));
  EXPECT(memcmp(logits, nine, kRow) == 0);
  FAILS(v4rt_session_fork(session, 0, -1), V4RT_INVALID_ARGUMENT, "-1");
  FAILS(v4rt_session_checkpoint(session, 7), V4RT_INVALID_ARGUMENT, "7");

  /* Bytes, into another session. */
  v4rt_snapshot *snapshot = NULL, *copy = NULL;
  v4rt_session* other = NULL;
  const void* bytes = NULL;
  size_t n_bytes = 0;
  OK(v4rt_snapshot_open(session, 1, &snapshot));
  OK(v4rt_snapshot_bytes(snapshot, &bytes, &n_bytes));
  OK(v4rt_snapshot_open_bytes(bytes, n_bytes, &copy));
  FAILS(v4rt_snapshot_open_bytes(bytes, n_bytes - 1, &snapshot), V4RT_CORRUPT, "snapshot");
  FAILS(v4rt_snapshot_open_bytes(NULL, 0, &snapshot), V4RT_INVALID_ARGUMENT, "bytes");
  OK(v4rt_session_open(model, &other));
  OK(v4rt_session_restore(other, 2, copy));
  OK(v4rt_session_position(other, 2, &position));
  OK(v4rt_session_feed(other, 2, kPrompt + 8, 1, &logits));
  EXPECT(position == 8 && memcmp(logits, nine, kRow) == 0);

  /* Drafts change no token. */
  int32_t ids[2] = {-7, -7};
  OK(v4rt_session_draft(session, 0, kPrompt[9], 2, ids));
  EXPECT(ids[0] >= -1 && ids[0] < 2048 && ids[1] >= -1 && ids[1] < 2048);
  FAILS(v4rt_session_draft(session, 0, kPrompt[9], 3, ids), V4RT_INVALID_ARGUMENT, "3");
  struct Tokens plain = {.count = 0}, drafted = {.count = 0};
  v4rt_generate_options o = {.struct_size = sizeof(o), .max_tokens = 12, .ignore_end_token = 1};
  v4rt_generate_result result = {.struct_size = sizeof(result)};
  OK(v4rt_session_reset(session, 0));
  OK(v4rt_generate(session, kPrompt, kPromptLength, &o, NULL, keep_token, &plain, &result));
  EXPECT(result.drafted == 0);
  OK(v4rt_session_reset(session, 2));
  o.slot = 2, o.draft = 2;
  OK(v4rt_generate(session, kPrompt, kPromptLength, &o, NULL, keep_token, &drafted, &result));
  EXPECT(result.drafted > 0 && result.accepted <= result.drafted);
  EXPECT(plain.count == 12 && drafted.count == 12 && memcmp(plain.ids, drafted.ids, sizeof(plain.ids[0]) * 12) == 0);

  v4rt_session_close(other);
  v4rt_snapshot_close(copy);
  v4rt_snapshot_close(snapshot);
  v4rt_session_close(session);
  v4rt_model_close(model);
}
