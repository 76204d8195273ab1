#include <stdatomic.h>
#include <stdlib.h>

#include "tests/api/api_test.h"

/* Ids that are the length of the text so far, modulo 3. */
struct Rule {
  atomic_int calls, closed, wrong;
  int stop_at, none_at; /* this length; 0: never */
};

static int by_length(const int32_t* chosen, size_t n_chosen, uint64_t* allowed, size_t n_words, void* user) {
  struct Rule* rule = user;
  rule->calls += 1;
  rule->wrong += rule->closed || n_words != 32;
  for (size_t i = 0; i < n_chosen; ++i) rule->wrong += (size_t)chosen[i] % 3 != i % 3;
  for (size_t i = 0; i < n_words; ++i) rule->wrong += allowed[i] != UINT64_MAX;
  const int none = rule->none_at > 0 && n_chosen == (size_t)rule->none_at;
  for (size_t id = 0; id < n_words * 64; ++id)
    if (none || id % 3 != n_chosen % 3) allowed[id / 64] &= ~((uint64_t)1 << (id % 64));
  return rule->stop_at == 0 || n_chosen != (size_t)rule->stop_at;
}

struct Ids {
  int32_t ids[64];
  int count;
};

static int keep(int32_t id, void* user) {
  struct Ids* ids = user;
  ids->ids[ids->count++] = id;
  return 1;
}

static v4rt_status generate(v4rt_model* model, struct Rule* rule, float temperature, int draft, struct Ids* ids) {
  v4rt_session* session = NULL;
  v4rt_sampler* sampler = NULL;
  const v4rt_sampler_options sampling = {
      .struct_size = sizeof(sampling), .temperature = temperature, .filter = by_length, .filter_user = rule};
  const v4rt_generate_options options = {
      .struct_size = sizeof(options), .max_tokens = 20, .ignore_end_token = 1, .draft = draft};
  ids->count = 0;
  OK(v4rt_session_open(model, &session));
  OK(v4rt_sampler_open(model, &sampling, &sampler));
  const v4rt_status status = v4rt_generate(session, kPrompt, kPromptLength, &options, sampler, keep, ids, NULL);
  int64_t position = 0;
  OK(v4rt_session_position(session, 0, &position));
  EXPECT(position == kPromptLength + ids->count);
  v4rt_sampler_close(sampler);
  v4rt_session_close(session);
  return status;
}

static v4rt_status take(v4rt_answer* answer, struct Ids* ids) {
  v4rt_event event = {.struct_size = sizeof(event)};
  ids->count = 0;
  while (1) {
    const v4rt_status status = v4rt_answer_next(answer, -1, &event);
    if (status != V4RT_OK || event.kind == V4RT_EVENT_END) return status;
    if (ids->count < 64) ids->ids[ids->count++] = event.token;
  }
}

static void same(const struct Ids* a, const struct Ids* b) {
  EXPECT(a->count == b->count && memcmp(a->ids, b->ids, (size_t)a->count * sizeof(int32_t)) == 0);
}

/* The texts of requests are those of one alone; a filter that fails ends its request and no other. */
static void test_requests(v4rt_model* model, float temperature, const struct Ids* expected) {
  enum { kRequests = 4 };
  struct Rule rules[kRequests] = {{.calls = 0}, {.stop_at = 5}, {.none_at = 7}, {.calls = 0}};
  const v4rt_status ends[kRequests] = {V4RT_OK, V4RT_CANCELLED, V4RT_INVALID_ARGUMENT, V4RT_OK};
  v4rt_answer* answers[kRequests] = {NULL};
  v4rt_engine* engine = NULL;
  OK(v4rt_engine_open(model, NULL, &engine));
  v4rt_sampler_options sampling = {.struct_size = sizeof(sampling), .temperature = temperature, .filter = by_length};
  v4rt_request request = {.struct_size = sizeof(request),
                          .prompt = kPrompt,
                          .n_prompt = kPromptLength,
                          .sampler = &sampling,
                          .max_tokens = 20,
                          .ignore_end_token = 1};
  for (int i = 0; i < kRequests; ++i) {
    sampling.filter_user = &rules[i];
    OK(v4rt_answer_open(engine, &request, &answers[i]));
  }
  for (int i = 0; i < kRequests; ++i) {
    struct Ids ids;
    EXPECT(take(answers[i], &ids) == ends[i]);
    if (ends[i] == V4RT_OK) same(&ids, expected);
    EXPECT(ends[i] != V4RT_INVALID_ARGUMENT || strstr(v4rt_last_error(), "allows none after 7") != NULL);
    v4rt_answer_close(answers[i]);
    rules[i].closed = 1;
  }
  struct Rule under_way = {.calls = 0};
  sampling.filter_user = &under_way;
  request.max_tokens = 400;
  OK(v4rt_answer_open(engine, &request, &answers[0]));
  while (under_way.calls < 3) {
  }
  v4rt_answer_close(answers[0]);
  under_way.closed = 1;
  v4rt_engine_close(engine);
  for (int i = 0; i < kRequests; ++i) EXPECT(rules[i].wrong == 0 && rules[i].calls > 0);
  EXPECT(under_way.wrong == 0);
}

void test_filter(const char* path, const char* device) {
  v4rt_model* model = NULL;
  const v4rt_model_options options = {.struct_size = sizeof(options),
                                      .device = device,
                                      .cache_dir = getenv("V4RT_TEST_CACHE"),
                                      .context = 512,
                                      .chunk = 64,
                                      .slots = 2,
                                      .draft = 2};
  OK(v4rt_model_open(path, &options, &model));
  if (model == NULL) return;
  struct Ids expected, ids;
  for (int hot = 0; hot < 2; ++hot) {
    const float temperature = hot ? 1.0f : 0.0f;
    struct Rule rule = {.calls = 0};
    OK(generate(model, &rule, temperature, 0, &expected));
    EXPECT(expected.count == 20 && rule.wrong == 0 && rule.calls >= 20);
    OK(generate(model, &rule, temperature, 2, &ids));
    same(&ids, &expected);
    EXPECT(rule.wrong == 0);
    test_requests(model, temperature, &expected);
  }
  struct Rule stops = {.stop_at = 4}, none = {.none_at = 6};
  FAILS(generate(model, &stops, 0, 2, &ids), V4RT_CANCELLED, "filter");
  EXPECT(ids.count == 4);
  FAILS(generate(model, &none, 0, 0, &ids), V4RT_INVALID_ARGUMENT, "allows none after 6");
  EXPECT(ids.count == 6);
  v4rt_model_close(model);
}
