#include <stdio.h>
#include <sys/resource.h>

#include "tests/api/api_test.h"

/* Options of a header that is newer than the library. */
void test_newer_options(const char* path) {
  struct {
    v4rt_model_options known;
    char newer[64];
  } options = {.known = {.struct_size = sizeof(options), .context = 64, .chunk = 8}};
  v4rt_model* model = NULL;
  OK(v4rt_model_open(path, &options.known, &model));
  v4rt_model_close(model);
  options.newer[63] = 1;
  FAILS(v4rt_model_open(path, &options.known, &model), V4RT_UNSUPPORTED, "v4rt_model_options: byte 175 is set");
  options.known.struct_size = SIZE_MAX;
  FAILS(v4rt_model_open(path, &options.known, &model), V4RT_INVALID_ARGUMENT, "struct_size");
}

void test_bad_models(const char* path, const char* device) {
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
  options.mtp = 2;
  FAILS(v4rt_model_open(path, &options, &model), V4RT_INVALID_ARGUMENT, "mtp is 2");
  options.mtp = 0;
  const char *rule = "no_device=", *unknown = "no_such_device=8", *few = "cpu=many";
  options.place = &rule, options.n_place = 1;
  FAILS(v4rt_model_open(path, &options, &model), V4RT_INVALID_ARGUMENT, "'no_device=' is not PATTERN=DEVICE");
  options.place = NULL;
  FAILS(v4rt_model_open(path, &options, &model), V4RT_INVALID_ARGUMENT, "place");
  options.n_place = 0;
  options.memory = &unknown, options.n_memory = 1;
  FAILS(v4rt_model_open(path, &options, &model), V4RT_NOT_FOUND, "no_such_device");
  options.memory = &few;
  FAILS(v4rt_model_open(path, &options, &model), V4RT_INVALID_ARGUMENT, "'many' is not a number of bytes");
  options.n_memory = 0;
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

static int stop_at(const char* what, double done, void* user) {
  double* when = user;
  EXPECT(what != NULL && done >= 0 && done <= 1);
  return done < *when;
}

/* Stopped while it plans or loads, opening gives nothing, and works the next time. */
void test_cancelled_open(const char* path, const char* device) {
  const double when[] = {0, 0.3, 0.9};
  for (int i = 0; i < 3; ++i) {
    v4rt_model* model = NULL;
    double at = when[i];
    const v4rt_model_options options = {.struct_size = sizeof(options),
                                        .device = device,
                                        .progress = stop_at,
                                        .progress_user = &at,
                                        .context = 64,
                                        .chunk = 8};
    FAILS(v4rt_model_open(path, &options, &model), V4RT_CANCELLED, "stopped by the caller");
    EXPECT(model == NULL);
    at = 2;
    OK(v4rt_model_open(path, &options, &model));
    v4rt_model_close(model);
  }
}

/* What is needed is known before anything is allocated, and is the limit that is enough. */
void test_memory(const char* path, const char* device) {
  char* json = NULL;
  v4rt_model* model = NULL;
  v4rt_model_options options = {.struct_size = sizeof(options), .device = device, .context = 512, .chunk = 8};
  OK(v4rt_memory_needed(path, &options, &json));
  const char* total = json == NULL ? NULL : strstr(json, "\"total_bytes\": ");
  const char* name = json == NULL ? NULL : strstr(json, "\"device\": \"");
  EXPECT(total != NULL && name != NULL);
  if (total == NULL || name == NULL) return;
  unsigned long long bytes = 0;
  char limit[128], device_name[64];
  EXPECT(sscanf(total, "\"total_bytes\": %llu", &bytes) == 1 && bytes > 1000000);
  EXPECT(sscanf(name, "\"device\": \"%63[^\"]", device_name) == 1);
  v4rt_free(json);

  const char* limits[] = {limit};
  options.memory = limits, options.n_memory = 1;
  snprintf(limit, sizeof(limit), "%s=%llu", device_name, bytes);
  OK(v4rt_model_open(path, &options, &model));
  v4rt_model_close(model);
  snprintf(limit, sizeof(limit), "%s=%llu", device_name, bytes - 1);
  model = NULL;
  FAILS(v4rt_model_open(path, &options, &model), V4RT_OUT_OF_MEMORY, "of state and");
  EXPECT(model == NULL);
  FAILS(v4rt_memory_needed(NULL, &options, &json), V4RT_INVALID_ARGUMENT, "path");
  FAILS(v4rt_memory_needed(path, &options, NULL), V4RT_INVALID_ARGUMENT, "json");
}

void test_explain(const v4rt_model* model) {
  char* json = NULL;
  OK(v4rt_model_explain(model, 1, 500, &json));
  EXPECT(json != NULL && strstr(json, "\"position\": 500") != NULL && strstr(json, "\"kernel\"") != NULL);
  v4rt_free(json);
  FAILS(v4rt_model_explain(model, 9, 0, &json), V4RT_INVALID_ARGUMENT, "9");
  FAILS(v4rt_model_explain(model, 1, 512, &json), V4RT_INVALID_ARGUMENT, "512");
  FAILS(v4rt_model_explain(model, 1, -1, &json), V4RT_INVALID_ARGUMENT, "-1");
  FAILS(v4rt_model_explain(NULL, 1, 0, &json), V4RT_INVALID_ARGUMENT, "model");
}

void test_info(const v4rt_model* model) {
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

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* these need all the address space there is */
/* Threads that cannot be started are an error, and what comes after it works. */
void test_threads_that_do_not_start(const char* path) {
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
