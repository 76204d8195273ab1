/* The C interface from C11: api_test MODEL DEVICE. Says which check failed; exit status 0 when none did. */
#include <math.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "graph/api/v4rt.h"

static int checks = 0, failures = 0;

static void expect(int ok, const char* what, int line) {
  ++checks;
  if (ok) return;
  ++failures;
  fprintf(stderr, "api_test.c:%d: %s; last error: %s\n", line, what, v4rt_last_error());
}

#define EXPECT(condition) expect((condition), #condition, __LINE__)
#define OK(call) expect((call) == V4RT_OK, #call " succeeds", __LINE__)

/* The call fails with `status` and a message that names `part`. */
#define FAILS(call, status, part)                                                     \
  do {                                                                                \
    expect((call) == (status), #call " fails with " #status, __LINE__);               \
    expect(strstr(v4rt_last_error(), part) != NULL, "message names " part, __LINE__); \
  } while (0)

static const int32_t kPrompt[] = {0, 320, 1843, 652, 844, 1218, 313, 260, 5, 17};
enum { kPromptLength = sizeof(kPrompt) / sizeof(kPrompt[0]) };

static void test_statuses(void) {
  EXPECT(strlen(v4rt_version()) >= 5);
  EXPECT(v4rt_last_error() != NULL);
  EXPECT(strcmp(v4rt_status_name(V4RT_OK), "ok") == 0);
  for (int status = V4RT_OK; status <= V4RT_INTERNAL; ++status)
    EXPECT(strcmp(v4rt_status_name(status), "unknown status") != 0);
  EXPECT(strcmp(v4rt_status_name(-1), "unknown status") == 0);
  EXPECT(strcmp(v4rt_status_name(99), "unknown status") == 0);
}

/* What old programs were compiled with. A new field goes to the end, and here beside it; none moves. */
static void test_layouts(void) {
#if UINTPTR_MAX == UINT64_MAX
#define AT(type, field, offset) EXPECT(offsetof(type, field) == (offset))
  AT(v4rt_device_info, name, 8), AT(v4rt_device_info, description, 16), AT(v4rt_device_info, memory, 24);
  AT(v4rt_device_info, max_allocation, 32), EXPECT(sizeof(v4rt_device_info) == 40);
  AT(v4rt_model_options, device, 8), AT(v4rt_model_options, cache_dir, 16), AT(v4rt_model_options, threads, 24);
  AT(v4rt_model_options, numbers, 28), AT(v4rt_model_options, context, 32), AT(v4rt_model_options, chunk, 40);
  AT(v4rt_model_options, progress, 48), AT(v4rt_model_options, progress_user, 56);
  AT(v4rt_model_options, weight_cache, 64), AT(v4rt_model_options, fast, 72), AT(v4rt_model_options, reserved, 76);
  AT(v4rt_model_options, no_mmap, 80), AT(v4rt_model_options, reserved_2, 84);
  EXPECT(sizeof(v4rt_model_options) == 88);
  AT(v4rt_model_info, vocab_size, 8), AT(v4rt_model_info, context, 16), AT(v4rt_model_info, layers, 24);
  AT(v4rt_model_info, bos_token, 28), AT(v4rt_model_info, eos_token, 32), AT(v4rt_model_info, has_mtp, 36);
  AT(v4rt_model_info, weight_bytes, 40), AT(v4rt_model_info, state_bytes, 48), AT(v4rt_model_info, arena_bytes, 56);
  EXPECT(sizeof(v4rt_model_info) == 64);
  AT(v4rt_sampler_options, temperature, 8), AT(v4rt_sampler_options, top_p, 12), AT(v4rt_sampler_options, seed, 16);
  EXPECT(sizeof(v4rt_sampler_options) == 24);
  AT(v4rt_generate_options, max_tokens, 8), AT(v4rt_generate_options, ignore_end_token, 16);
  AT(v4rt_generate_options, reserved, 20), EXPECT(sizeof(v4rt_generate_options) == 24);
  AT(v4rt_generate_result, stop, 8), AT(v4rt_generate_result, prompt_tokens, 16), AT(v4rt_generate_result, tokens, 24);
  AT(v4rt_generate_result, prefill_seconds, 32), AT(v4rt_generate_result, decode_seconds, 40);
  EXPECT(sizeof(v4rt_generate_result) == 48);
#endif
/* The last field ends where the structure does: nothing that a caller leaves unset becomes part of it. */
#define ENDS(type, field) EXPECT(offsetof(type, field) + sizeof(((type*)0)->field) == sizeof(type))
  ENDS(v4rt_device_info, max_allocation);
  ENDS(v4rt_model_options, reserved_2);
  ENDS(v4rt_model_info, arena_bytes);
  ENDS(v4rt_sampler_options, seed);
  ENDS(v4rt_generate_options, reserved);
  ENDS(v4rt_generate_result, decode_seconds);
}

static void count_device(const v4rt_device_info* info, void* user) {
  int* found = user;
  EXPECT(info->struct_size == sizeof(*info));
  EXPECT(strlen(info->name) > 0 && info->description != NULL);
  if (strcmp(info->name, "cpu") == 0 || strcmp(info->name, "reference") == 0) ++*found;
}

static void test_devices(void) {
  int found = 0;
  OK(v4rt_devices(count_device, &found));
  EXPECT(found == 2);
  FAILS(v4rt_devices(NULL, NULL), V4RT_INVALID_ARGUMENT, "visit");
}

static void test_tokenizer(const char* path) {
  v4rt_tokenizer* tokenizer = NULL;
  FAILS(v4rt_tokenizer_open(NULL, &tokenizer), V4RT_INVALID_ARGUMENT, "path");
  FAILS(v4rt_tokenizer_open(path, NULL), V4RT_INVALID_ARGUMENT, "tokenizer");
  FAILS(v4rt_tokenizer_open("/no/such/folder/tokenizer.json", &tokenizer), V4RT_NOT_FOUND, "/no/such/folder");
  EXPECT(tokenizer == NULL);
  OK(v4rt_tokenizer_open(path, &tokenizer));
  if (tokenizer == NULL) return;

  const char text[] = "Reverse the list: \xC3\xA9t\xC3\xA9, 2 + 2 = 4\n<think>";
  const size_t length = sizeof(text) - 1;
  size_t n = 0, plain = 0, n_bytes = 0;
  OK(v4rt_tokenizer_encode(tokenizer, text, length, 1, NULL, 0, &n));
  OK(v4rt_tokenizer_encode(tokenizer, text, length, 0, NULL, 0, &plain));
  EXPECT(n > 0 && n < length && plain > n);
  int32_t ids[128];
  size_t again = 0;
  FAILS(v4rt_tokenizer_encode(tokenizer, text, length, 1, ids, n - 1, &again), V4RT_INVALID_ARGUMENT, "room");
  EXPECT(again == n);
  OK(v4rt_tokenizer_encode(tokenizer, text, length, 1, ids, 128, &again));
  EXPECT(again == n);

  char back[256];
  OK(v4rt_tokenizer_decode(tokenizer, ids, n, back, sizeof(back), &n_bytes));
  EXPECT(n_bytes == length && memcmp(back, text, length) == 0);
  FAILS(v4rt_tokenizer_decode(tokenizer, ids, n, back, 3, &n_bytes), V4RT_INVALID_ARGUMENT, "room");
  EXPECT(n_bytes == length);
  OK(v4rt_tokenizer_decode(tokenizer, NULL, 0, NULL, 0, &n_bytes));
  EXPECT(n_bytes == 0);
  OK(v4rt_tokenizer_encode(tokenizer, NULL, 0, 1, NULL, 0, &n));
  EXPECT(n == 0);

  const char* bytes = NULL;
  OK(v4rt_tokenizer_token(tokenizer, ids[0], &bytes, &n_bytes));
  EXPECT(n_bytes > 0 && memcmp(bytes, text, n_bytes) == 0);
  FAILS(v4rt_tokenizer_token(tokenizer, -1, &bytes, &n_bytes), V4RT_INVALID_ARGUMENT, "-1");
  FAILS(v4rt_tokenizer_token(tokenizer, INT32_MAX, &bytes, &n_bytes), V4RT_INVALID_ARGUMENT, "2147483647");

  FAILS(v4rt_tokenizer_encode(NULL, text, length, 1, ids, 128, &n), V4RT_INVALID_ARGUMENT, "tokenizer");
  FAILS(v4rt_tokenizer_encode(tokenizer, NULL, 5, 1, ids, 128, &n), V4RT_INVALID_ARGUMENT, "text");
  FAILS(v4rt_tokenizer_encode(tokenizer, text, length, 1, ids, 128, NULL), V4RT_INVALID_ARGUMENT, "n_ids");
  FAILS(v4rt_tokenizer_encode(tokenizer, text, length, 1, NULL, 128, &n), V4RT_INVALID_ARGUMENT, "ids");
  FAILS(v4rt_tokenizer_decode(tokenizer, NULL, 5, back, 256, &n_bytes), V4RT_INVALID_ARGUMENT, "ids");
  FAILS(v4rt_tokenizer_token(tokenizer, 5, NULL, &n_bytes), V4RT_INVALID_ARGUMENT, "bytes");
  v4rt_tokenizer_free(tokenizer);
  v4rt_tokenizer_free(NULL);
}

static void test_bad_models(const char* path, const char* device) {
  v4rt_model* model = NULL;
  v4rt_model_options options = {.struct_size = sizeof(options), .device = device};
  FAILS(v4rt_model_open(NULL, &options, &model), V4RT_INVALID_ARGUMENT, "path");
  FAILS(v4rt_model_open(path, &options, NULL), V4RT_INVALID_ARGUMENT, "model");
  FAILS(v4rt_model_open("/no/such/model", &options, &model), V4RT_NOT_FOUND, "/no/such/model");
  options.struct_size = 0;
  FAILS(v4rt_model_open(path, &options, &model), V4RT_INVALID_ARGUMENT, "struct_size");
  options.struct_size = sizeof(options);
  options.numbers = 7;
  FAILS(v4rt_model_open(path, &options, &model), V4RT_INVALID_ARGUMENT, "numbers");
  options.numbers = V4RT_PLAIN;
  options.fast = V4RT_FAST_ALWAYS + 1;
  FAILS(v4rt_model_open(path, &options, &model), V4RT_INVALID_ARGUMENT, "v4rt_fast");
  options.fast = V4RT_EXACT;
  options.context = -1;
  FAILS(v4rt_model_open(path, &options, &model), V4RT_INVALID_ARGUMENT, "-1");
  options.context = INT64_MAX;
  EXPECT(v4rt_model_open(path, &options, &model) != V4RT_OK);
  options.context = 256;
  options.device = "no_such_device";
  EXPECT(v4rt_model_open(path, &options, &model) != V4RT_OK);
  EXPECT(strstr(v4rt_last_error(), "no_such_device") != NULL);
  EXPECT(model == NULL);
  v4rt_model_close(NULL);
}

static void test_info(const v4rt_model* model) {
  v4rt_model_info info = {.struct_size = sizeof(info)};
  OK(v4rt_model_get_info(model, &info));
  EXPECT(info.vocab_size == 2048 && info.layers == 5 && info.context == 512);
  EXPECT(info.bos_token == 0 && info.eos_token == 1 && info.has_mtp == 1);
  EXPECT(info.state_bytes > 0 && info.arena_bytes > 0 && info.weight_bytes > 1000000);

  /* A program that was compiled when the structure ended after vocab_size. */
  v4rt_model_info old;
  memset(&old, 0x5a, sizeof(old));
  old.struct_size = offsetof(v4rt_model_info, context);
  OK(v4rt_model_get_info(model, &old));
  EXPECT(old.vocab_size == 2048 && old.context == 0x5a5a5a5a5a5a5a5a);
  EXPECT(old.struct_size == offsetof(v4rt_model_info, context));

  info.struct_size = 3;
  FAILS(v4rt_model_get_info(model, &info), V4RT_INVALID_ARGUMENT, "struct_size");
  FAILS(v4rt_model_get_info(model, NULL), V4RT_INVALID_ARGUMENT, "info");
  FAILS(v4rt_model_get_info(NULL, &info), V4RT_INVALID_ARGUMENT, "model");

  const int32_t* end_tokens = NULL;
  size_t n_end_tokens = 0;
  OK(v4rt_model_end_tokens(model, &end_tokens, &n_end_tokens));
  EXPECT(n_end_tokens == 1 && end_tokens != NULL && end_tokens[0] == 1);
  FAILS(v4rt_model_end_tokens(NULL, &end_tokens, &n_end_tokens), V4RT_INVALID_ARGUMENT, "model");
  FAILS(v4rt_model_end_tokens(model, NULL, &n_end_tokens), V4RT_INVALID_ARGUMENT, "ids");
  FAILS(v4rt_model_end_tokens(model, &end_tokens, NULL), V4RT_INVALID_ARGUMENT, "n_ids");
}

static void test_session(v4rt_model* model) {
  v4rt_session* session = NULL;
  v4rt_snapshot* snapshot = NULL;
  const size_t vocabulary = 2048 * sizeof(float);
  const float* logits = NULL;
  int64_t position = -1;
  FAILS(v4rt_session_create(NULL, &session), V4RT_INVALID_ARGUMENT, "model");
  FAILS(v4rt_session_create(model, NULL), V4RT_INVALID_ARGUMENT, "session");
  OK(v4rt_session_create(model, &session));
  if (session == NULL) return;
  FAILS(v4rt_session_feed(NULL, kPrompt, 1, &logits), V4RT_INVALID_ARGUMENT, "session");
  FAILS(v4rt_session_feed(session, NULL, 1, &logits), V4RT_INVALID_ARGUMENT, "tokens");
  EXPECT(v4rt_session_feed(session, kPrompt, 0, &logits) == V4RT_INVALID_ARGUMENT);
  const int32_t outside[] = {5, 2048};
  FAILS(v4rt_session_feed(session, outside, 2, &logits), V4RT_INVALID_ARGUMENT, "2048");
  const int32_t negative[] = {-3};
  FAILS(v4rt_session_feed(session, negative, 1, &logits), V4RT_INVALID_ARGUMENT, "-3");
  OK(v4rt_session_position(session, &position));
  EXPECT(position == 0);
  FAILS(v4rt_session_position(session, NULL), V4RT_INVALID_ARGUMENT, "position");

  /* Whole, then token by token: the same bits. */
  float* whole = malloc(vocabulary);
  if (whole == NULL) exit(1);
  OK(v4rt_session_feed(session, kPrompt, kPromptLength, &logits));
  memcpy(whole, logits, vocabulary);
  OK(v4rt_session_reset(session));
  for (int i = 0; i < kPromptLength; ++i) OK(v4rt_session_feed(session, kPrompt + i, 1, &logits));
  EXPECT(memcmp(whole, logits, vocabulary) == 0);

  /* A snapshot taken midway, restored here and elsewhere. */
  OK(v4rt_session_reset(session));
  OK(v4rt_session_feed(session, kPrompt, 6, NULL));
  OK(v4rt_session_snapshot(session, &snapshot));
  OK(v4rt_session_feed(session, kPrompt, 9, NULL));
  OK(v4rt_session_restore(session, snapshot));
  OK(v4rt_session_position(session, &position));
  EXPECT(position == 6);
  OK(v4rt_session_feed(session, kPrompt + 6, kPromptLength - 6, &logits));
  EXPECT(memcmp(whole, logits, vocabulary) == 0);
  v4rt_session* other = NULL;
  OK(v4rt_session_create(model, &other));
  OK(v4rt_session_restore(other, snapshot));
  OK(v4rt_session_feed(other, kPrompt + 6, kPromptLength - 6, &logits));
  EXPECT(memcmp(whole, logits, vocabulary) == 0);
  FAILS(v4rt_session_snapshot(session, NULL), V4RT_INVALID_ARGUMENT, "snapshot");
  FAILS(v4rt_session_snapshot(NULL, &snapshot), V4RT_INVALID_ARGUMENT, "session");
  FAILS(v4rt_session_restore(session, NULL), V4RT_INVALID_ARGUMENT, "snapshot");
  FAILS(v4rt_session_reset(NULL), V4RT_INVALID_ARGUMENT, "session");
  free(whole);

  /* One token more than the context holds. */
  static int32_t many[513];
  FAILS(v4rt_session_feed(session, many, 513, &logits), V4RT_INVALID_ARGUMENT, "512");
  OK(v4rt_session_position(session, &position));
  EXPECT(position == kPromptLength);

  v4rt_snapshot_free(snapshot);
  v4rt_snapshot_free(NULL);
  v4rt_session_free(other);
  v4rt_session_free(session);
  v4rt_session_free(NULL);
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

static void test_sampler(v4rt_model* model) {
  v4rt_sampler* sampler = NULL;
  v4rt_sampler_options options = {.struct_size = sizeof(options), .temperature = -1};
  FAILS(v4rt_sampler_create(model, &options, &sampler), V4RT_INVALID_ARGUMENT, "temperature");
  options.temperature = 1;
  options.top_p = 2;
  FAILS(v4rt_sampler_create(model, &options, &sampler), V4RT_INVALID_ARGUMENT, "top_p");
  FAILS(v4rt_sampler_create(NULL, NULL, &sampler), V4RT_INVALID_ARGUMENT, "model");
  FAILS(v4rt_sampler_create(model, NULL, NULL), V4RT_INVALID_ARGUMENT, "sampler");
  OK(v4rt_sampler_create(model, NULL, &sampler));
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
  logits[5] = NAN;
  FAILS(v4rt_sampler_sample(sampler, logits, 2048, &id), V4RT_CORRUPT, "token 5");
  free(logits);
  v4rt_sampler_free(sampler);
  v4rt_sampler_free(NULL);
}

/* Each session below reads the prompt and makes tokens: the same as feeding and taking the largest logit by hand. */
static void test_generate(v4rt_model* model) {
  v4rt_session* session = NULL;
  v4rt_sampler* greedy = NULL;
  OK(v4rt_session_create(model, &session));
  OK(v4rt_sampler_create(model, NULL, &greedy));
  if (session == NULL || greedy == NULL) return;
  v4rt_generate_options options = {.struct_size = sizeof(options), .max_tokens = 12, .ignore_end_token = 1};
  v4rt_generate_result result = {.struct_size = sizeof(result)};
  struct Tokens tokens = {.count = 0};
  OK(v4rt_generate(session, kPrompt, kPromptLength, &options, NULL, keep_token, &tokens, &result));
  EXPECT(tokens.count == 12 && result.tokens == 12 && result.prompt_tokens == kPromptLength);
  EXPECT(result.stop == V4RT_STOP_MAX_TOKENS && result.prefill_seconds > 0 && result.decode_seconds > 0);

  const float* logits = NULL;
  OK(v4rt_session_reset(session));
  OK(v4rt_session_feed(session, kPrompt, kPromptLength, &logits));
  for (int i = 0; i < 12; ++i) {
    int32_t id = -1;
    OK(v4rt_sampler_sample(greedy, logits, 2048, &id));
    EXPECT(id == tokens.ids[i]);
    OK(v4rt_session_feed(session, &id, 1, &logits));
  }

  OK(v4rt_session_reset(session));
  struct Tokens few = {.stop_after = 3};
  OK(v4rt_generate(session, kPrompt, kPromptLength, &options, greedy, keep_token, &few, &result));
  EXPECT(few.count == 3 && result.tokens == 3 && result.stop == V4RT_STOP_CANCELLED);
  int64_t position = 0;
  OK(v4rt_session_position(session, &position));
  EXPECT(position == kPromptLength + 3);

  FAILS(v4rt_generate(NULL, kPrompt, 1, NULL, NULL, keep_token, &few, NULL), V4RT_INVALID_ARGUMENT, "session");
  FAILS(v4rt_generate(session, NULL, 1, NULL, NULL, keep_token, &few, NULL), V4RT_INVALID_ARGUMENT, "prompt");
  FAILS(v4rt_generate(session, kPrompt, 1, NULL, NULL, NULL, NULL, NULL), V4RT_INVALID_ARGUMENT, "on_token");
  options.max_tokens = -5;
  FAILS(v4rt_generate(session, kPrompt, 1, &options, NULL, keep_token, &few, NULL), V4RT_INVALID_ARGUMENT, "-5");
  result.struct_size = 0;
  FAILS(v4rt_generate(session, kPrompt, 1, NULL, NULL, keep_token, &few, &result), V4RT_INVALID_ARGUMENT,
        "struct_size");
  v4rt_sampler_free(greedy);
  v4rt_session_free(session);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* these need all the address space there is */
/* Threads that cannot be started are an error, and what comes after it works. */
static void test_threads_that_do_not_start(const char* path) {
  struct rlimit all;
  getrlimit(RLIMIT_AS, &all);
  const struct rlimit limit = {(rlim_t)2 << 30, all.rlim_max};
  v4rt_model* model = NULL;
  v4rt_model_options options = {.struct_size = sizeof(options), .device = "cpu", .threads = 4096, .context = 64};
  setrlimit(RLIMIT_AS, &limit);
  FAILS(v4rt_model_open(path, &options, &model), V4RT_OUT_OF_MEMORY, "of 4096 threads could be started");
  EXPECT(model == NULL);
  options.threads = 2;
  OK(v4rt_model_open(path, &options, &model));
  v4rt_model_close(model);
  setrlimit(RLIMIT_AS, &all);
}
#endif

static void* fail_elsewhere(void* unused) {
  (void)unused;
  FAILS(v4rt_devices(NULL, NULL), V4RT_INVALID_ARGUMENT, "visit");
  return NULL;
}

static void test_errors_are_per_thread(void) {
  v4rt_model* model = NULL;
  FAILS(v4rt_model_open("/here/is/none", NULL, &model), V4RT_NOT_FOUND, "/here/is/none");
  pthread_t thread = 0;
  if (pthread_create(&thread, NULL, fail_elsewhere, NULL) != 0) exit(1);
  pthread_join(thread, NULL);
  EXPECT(strstr(v4rt_last_error(), "/here/is/none") != NULL);
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  test_statuses();
  test_layouts();
  test_devices();
  test_tokenizer(argv[1]);
  test_errors_are_per_thread();
  test_bad_models(argv[1], argv[2]);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  if (strcmp(argv[2], "cpu") == 0) test_threads_that_do_not_start(argv[1]);
#endif

  v4rt_model* model = NULL;
  const v4rt_model_options options = {
      .struct_size = sizeof(options), .device = argv[2], .numbers = V4RT_PLAIN, .context = 512, .chunk = 8};
  OK(v4rt_model_open(argv[1], &options, &model));
  if (model != NULL) {
    test_info(model);
    test_session(model);
    test_sampler(model);
    test_generate(model);

    /* A session outlives the handle of its model. */
    v4rt_session* session = NULL;
    OK(v4rt_session_create(model, &session));
    v4rt_model_close(model);
    OK(v4rt_session_feed(session, kPrompt, 3, NULL));
    v4rt_session_free(session);
  }
  printf("%d checks, %d failed\n", checks, failures);
  return failures == 0 ? 0 : 1;
}
