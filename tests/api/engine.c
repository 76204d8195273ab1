#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/api/api_test.h"

struct Text {
  int32_t ids[64];
  int count;
  char text[512];
  v4rt_generate_result result;
};

static int keep_id(int32_t id, void* user) {
  struct Text* text = user;
  text->ids[text->count++] = id;
  return 1;
}

/* Everything that an answer says, to its end; the status is that of the end. */
static v4rt_status take(v4rt_answer* answer, struct Text* all) {
  v4rt_event event = {.struct_size = sizeof(event)};
  memset(all, 0, sizeof(*all));
  all->result.struct_size = sizeof(all->result);
  while (1) {
    const v4rt_status status = v4rt_answer_next(answer, -1, &event);
    if (status != V4RT_OK) return status;
    strncat(all->text, event.text, event.n_bytes);
    if (event.kind == V4RT_EVENT_END) return v4rt_answer_result(answer, &all->result);
    EXPECT(event.kind == V4RT_EVENT_TOKEN && all->count < 64);
    if (all->count < 64) all->ids[all->count++] = event.token;
  }
}

static void count_news(void* user) { atomic_fetch_add((atomic_int*)user, 1); }

/* As many requests as there are, over two slots: each is answered as alone. */
static void test_many(v4rt_model* model, v4rt_engine* engine) {
  enum { kRequests = 6 };
  v4rt_answer* answers[kRequests] = {NULL};
  atomic_int news = 0;
  v4rt_session* session = NULL;
  OK(v4rt_session_open(model, &session));
  if (session == NULL) return;
  v4rt_sampler_options sampled = {.struct_size = sizeof(sampled), .temperature = 1, .logprobs = 1, .top_logprobs = 2};
  v4rt_request request = {.struct_size = sizeof(request),
                          .prompt = kPrompt,
                          .sampler = &sampled,
                          .news = count_news,
                          .user = &news,
                          .max_tokens = 9,
                          .ignore_end_token = 1};
  for (int i = 0; i < kRequests; ++i) {
    request.n_prompt = (size_t)(i + 3);
    sampled.seed = (uint64_t)i;
    OK(v4rt_answer_open(engine, &request, &answers[i]));
  }
  for (int i = kRequests - 1; i >= 0; --i) {
    static struct Text alone, together;
    v4rt_sampler* sampler = NULL;
    sampled.seed = (uint64_t)i;
    OK(v4rt_sampler_open(model, &sampled, &sampler));
    const v4rt_generate_options o = {.struct_size = sizeof(o), .max_tokens = 9, .ignore_end_token = 1};
    alone.count = 0;
    OK(v4rt_session_reset(session, 0));
    OK(v4rt_generate(session, kPrompt, (size_t)(i + 3), &o, sampler, keep_id, &alone, NULL));
    OK(take(answers[i], &together));
    EXPECT(together.count == 9 && memcmp(alone.ids, together.ids, 9 * sizeof(int32_t)) == 0);
    EXPECT(together.result.tokens == 9 && together.result.prompt_tokens == i + 3);
    EXPECT(together.result.stop == V4RT_STOP_MAX_TOKENS);
    v4rt_sampler_close(sampler);
    v4rt_answer_close(answers[i]);
  }
  EXPECT(news >= kRequests * 9 && news <= kRequests * 10); /* the last is told after its event, unless that is taken */
  v4rt_session_close(session);
}

/* The text of an answer, cut before a string that spans tokens. */
static void test_text(const char* path, v4rt_engine* engine) {
  static struct Text whole, cut;
  v4rt_tokenizer* tokenizer = NULL;
  v4rt_answer* answer = NULL;
  OK(v4rt_tokenizer_open(path, &tokenizer));
  v4rt_request request = {.struct_size = sizeof(request),
                          .prompt = kPrompt,
                          .n_prompt = kPromptLength,
                          .tokenizer = tokenizer,
                          .max_tokens = 20,
                          .ignore_end_token = 1};
  OK(v4rt_answer_open(engine, &request, &answer));
  OK(take(answer, &whole));
  v4rt_answer_close(answer);
  char expected[512];
  size_t n = 0;
  OK(v4rt_tokenizer_decode(tokenizer, whole.ids, (size_t)whole.count, expected, sizeof(expected), &n));
  EXPECT(n == strlen(whole.text) && memcmp(expected, whole.text, n) == 0 && n > 12);

  char stop[4] = {0};
  memcpy(stop, whole.text + 8, 3);
  const char* stops[] = {"no such text", stop};
  atomic_int news = 0;
  request.stop = stops, request.n_stop = 2, request.max_tokens = 400, request.news = count_news, request.user = &news;
  OK(v4rt_answer_open(engine, &request, &answer));
  OK(take(answer, &cut));
  v4rt_answer_close(answer);
  EXPECT(strstr(cut.text, stop) == NULL && strncmp(cut.text, whole.text, strlen(cut.text)) == 0);
  EXPECT(cut.result.stop == V4RT_STOP_STRING && cut.result.tokens == cut.count && cut.count < whole.count);
  EXPECT(news < 400); /* the rest is not written */

  request.tokenizer = NULL;
  FAILS(v4rt_answer_open(engine, &request, &answer), V4RT_INVALID_ARGUMENT, "tokenizer");
  request.stop = NULL;
  FAILS(v4rt_answer_open(engine, &request, &answer), V4RT_INVALID_ARGUMENT, "stop");
  v4rt_tokenizer_close(tokenizer);
}

static void test_cancel(v4rt_engine* engine) {
  static struct Text text;
  v4rt_answer* answers[4] = {NULL};
  v4rt_event event = {.struct_size = sizeof(event)};
  v4rt_generate_result result = {.struct_size = sizeof(result)};
  const v4rt_request request = {
      .struct_size = sizeof(request), .prompt = kPrompt, .n_prompt = 3, .max_tokens = 400, .ignore_end_token = 1};
  for (int i = 0; i < 3; ++i) OK(v4rt_answer_open(engine, &request, &answers[i])); /* two run, one waits */
  FAILS(v4rt_answer_open(engine, &request, &answers[3]), V4RT_BUSY, "wait");
  OK(v4rt_answer_next(answers[2], 0, &event));
  EXPECT(event.kind == V4RT_EVENT_NONE);
  FAILS(v4rt_answer_result(answers[2], &result), V4RT_INVALID_ARGUMENT, "not complete");
  OK(v4rt_answer_next(answers[0], -1, &event));
  EXPECT(event.kind == V4RT_EVENT_TOKEN);
  OK(v4rt_answer_cancel(answers[0]));
  OK(take(answers[0], &text));
  EXPECT(text.result.stop == V4RT_STOP_CANCELLED && text.result.tokens == text.count + 1);
  OK(v4rt_answer_next(answers[0], 0, &event));
  EXPECT(event.kind == V4RT_EVENT_END);
  v4rt_answer_close(answers[1]); /* under way */
  OK(v4rt_answer_next(answers[2], -1, &event));
  EXPECT(event.kind == V4RT_EVENT_TOKEN);
  v4rt_answer_close(answers[0]);
  v4rt_engine_close(engine);
  EXPECT(take(answers[2], &text) == V4RT_CANCELLED && strstr(v4rt_last_error(), "closed") != NULL);
  v4rt_answer_close(answers[2]);
}

static void test_bad_requests(v4rt_engine* engine) {
  v4rt_answer* answer = NULL;
  v4rt_event event = {.struct_size = sizeof(event)};
  v4rt_request request = {.struct_size = sizeof(request), .prompt = kPrompt, .n_prompt = 3};
  FAILS(v4rt_answer_open(NULL, &request, &answer), V4RT_INVALID_ARGUMENT, "engine");
  FAILS(v4rt_answer_open(engine, NULL, &answer), V4RT_INVALID_ARGUMENT, "request");
  FAILS(v4rt_answer_open(engine, &request, NULL), V4RT_INVALID_ARGUMENT, "answer");
  request.n_prompt = 0;
  FAILS(v4rt_answer_open(engine, &request, &answer), V4RT_INVALID_ARGUMENT, "no tokens");
  request.n_prompt = 3, request.prompt = NULL;
  FAILS(v4rt_answer_open(engine, &request, &answer), V4RT_INVALID_ARGUMENT, "prompt");
  request.prompt = kPrompt, request.max_tokens = -1;
  FAILS(v4rt_answer_open(engine, &request, &answer), V4RT_INVALID_ARGUMENT, "max_tokens");
  request.max_tokens = 1, request.reserved = 1;
  FAILS(v4rt_answer_open(engine, &request, &answer), V4RT_UNSUPPORTED, "reserved");
  request.reserved = 0;
  const v4rt_sampler_options hot = {.struct_size = sizeof(hot), .temperature = -1};
  request.sampler = &hot;
  FAILS(v4rt_answer_open(engine, &request, &answer), V4RT_INVALID_ARGUMENT, "temperature");
  FAILS(v4rt_answer_next(NULL, 0, &event), V4RT_INVALID_ARGUMENT, "answer");
  FAILS(v4rt_answer_result(NULL, NULL), V4RT_INVALID_ARGUMENT, "answer");
  FAILS(v4rt_answer_cancel(NULL), V4RT_INVALID_ARGUMENT, "answer");
  EXPECT(answer == NULL);
  v4rt_answer_close(NULL);
}

/* A prompt is read once, also by an engine that comes later. */
static void test_cache(v4rt_model* model) {
  char folder[] = "/tmp/v4rt-engine-XXXXXX";
  if (mkdtemp(folder) == NULL) exit(1);
  static int32_t prompt[200];
  for (int i = 0; i < 200; ++i) prompt[i] = 5 + i;
  const v4rt_engine_options options = {.struct_size = sizeof(options), .cache_folder = folder};
  const v4rt_request request = {
      .struct_size = sizeof(request), .prompt = prompt, .n_prompt = 200, .max_tokens = 3, .ignore_end_token = 1};
  static struct Text first, again;
  for (int i = 0; i < 2; ++i) {
    v4rt_engine* engine = NULL;
    v4rt_answer* answer = NULL;
    OK(v4rt_engine_open(model, &options, &engine));
    OK(v4rt_answer_open(engine, &request, &answer));
    OK(take(answer, i == 0 ? &first : &again));
    v4rt_answer_close(answer);
    v4rt_engine_close(engine);
  }
  EXPECT(first.result.cached_tokens == 0 && again.result.cached_tokens >= 128);
  EXPECT(first.count == 3 && memcmp(first.ids, again.ids, sizeof(first.ids)) == 0);
  char command[64];
  snprintf(command, sizeof(command), "rm -rf %s", folder);
  EXPECT(system(command) == 0);
}

void test_engine(const char* path, const char* device) {
  v4rt_model* model = NULL;
  v4rt_engine* engine = NULL;
  v4rt_engine_options options = {.struct_size = sizeof(options), .no_cache = 1};
  v4rt_engine_info info = {.struct_size = sizeof(info)};
  const v4rt_model_options opened = {.struct_size = sizeof(opened),
                                     .device = device,
                                     .cache_dir = getenv("V4RT_TEST_CACHE"),
                                     .context = 512,
                                     .chunk = 64,
                                     .slots = 2};
  OK(v4rt_model_open(path, &opened, &model));
  FAILS(v4rt_engine_open(NULL, &options, &engine), V4RT_INVALID_ARGUMENT, "model");
  FAILS(v4rt_engine_open(model, &options, NULL), V4RT_INVALID_ARGUMENT, "engine");
  options.max_waiting = -1;
  FAILS(v4rt_engine_open(model, &options, &engine), V4RT_INVALID_ARGUMENT, "max_waiting");
  options.max_waiting = 0, options.no_cache = 2;
  FAILS(v4rt_engine_open(model, &options, &engine), V4RT_INVALID_ARGUMENT, "no_cache");
  options.no_cache = 1;
  OK(v4rt_engine_open(model, &options, &engine));
  if (engine == NULL) return;
  test_many(model, engine);
  test_text(path, engine);
  test_bad_requests(engine);
  OK(v4rt_engine_get_info(engine, &info));
  EXPECT(info.waiting == 0);
  FAILS(v4rt_engine_get_info(NULL, &info), V4RT_INVALID_ARGUMENT, "engine");
  v4rt_engine_close(engine);
  v4rt_engine_close(NULL);
  options.max_waiting = 1;
  OK(v4rt_engine_open(model, &options, &engine));
  test_cancel(engine);
  test_cache(model);
  v4rt_model_close(model);
}
