#include <stdio.h>
#include <stdlib.h>
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
  FAILS(v4rt_model_open(path, &options.known, &model), V4RT_UNSUPPORTED, "v4rt_model_options: byte 263 is set");
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
  options.draft = 5;
  FAILS(v4rt_model_open(path, &options, &model), V4RT_INVALID_ARGUMENT, "draft is 5");
  options.draft = 0;
  options.rewind = -2;
  FAILS(v4rt_model_open(path, &options, &model), V4RT_INVALID_ARGUMENT, "rewind -2");
  options.rewind = 0;
  options.reserved = 1;
  FAILS(v4rt_model_open(path, &options, &model), V4RT_UNSUPPORTED, "reserved is 1");
  options.reserved = 0;
  options.reserved2 = 1;
  FAILS(v4rt_model_open(path, &options, &model), V4RT_UNSUPPORTED, "reserved2 is 1");
  options.reserved2 = 0;
  options.thread_sharing = 3;
  FAILS(v4rt_model_open(path, &options, &model), V4RT_INVALID_ARGUMENT, "thread_sharing is 3");
  options.thread_sharing = V4RT_THREADS_FIRST;
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

struct Heap {
  size_t live, most, calls, fail_from;
  size_t off; /* bytes past a multiple of what was asked for */
};

static void* heap_allocate(size_t bytes, size_t alignment, void* user) {
  struct Heap* heap = user;
  if (++heap->calls == heap->fail_from) return NULL;
  char* memory = aligned_alloc(alignment, (bytes + heap->off + alignment - 1) / alignment * alignment);
  if (memory == NULL) exit(1);
  heap->live += bytes;
  if (heap->live > heap->most) heap->most = heap->live;
  return memory + heap->off;
}

static void heap_release(void* memory, size_t bytes, size_t alignment, void* user) {
  struct Heap* heap = user;
  EXPECT(bytes <= heap->live && alignment >= 64);
  heap->live -= bytes;
  free((char*)memory - heap->off);
}

static unsigned long long figure(const char* json, const char* name) {
  const char* at = strstr(json, name);
  return at == NULL ? 0 : strtoull(at + strlen(name), NULL, 10);
}

/* The program's allocator gives what the memory certificate says, and no more; it may fail at any call. */
void test_allocator(const char* path) {
  struct Heap heap = {0};
  char* json = NULL;
  v4rt_model* model = NULL;
  v4rt_session* session = NULL;
  v4rt_model_options options = {.struct_size = sizeof(options),
                                .context = 300,
                                .chunk = 16,
                                .slots = 2,
                                .allocate = heap_allocate,
                                .release = heap_release,
                                .memory_user = &heap};
  OK(v4rt_memory_needed(path, &options, &json));
  EXPECT(heap.calls == 0);
  OK(v4rt_model_open(path, &options, &model));
  EXPECT(heap.live == figure(json, "\"weight_bytes\": "));
  OK(v4rt_session_open(model, &session));
  const size_t all = heap.live, calls = heap.calls;
  EXPECT(all == figure(json, "\"weight_bytes\": ") + figure(json, "\"state_bytes\": ") +
                    figure(json, "\"arena_bytes\": ") + figure(json, "\"io_bytes\": "));
  for (int i = 0; i < 20; ++i) OK(v4rt_session_feed(session, i % 2, kPrompt, kPromptLength, NULL));
  EXPECT(heap.calls == calls && heap.most <= figure(json, "\"total_bytes\": "));
  v4rt_session_close(session);
  v4rt_model_close(model);
  EXPECT(heap.live == 0);
  v4rt_free(json);

  for (size_t n = 1; n <= calls; ++n) {
    heap.calls = 0, heap.fail_from = n;
    model = NULL, session = NULL;
    v4rt_status status = v4rt_model_open(path, &options, &model);
    if (status == V4RT_OK) status = v4rt_session_open(model, &session);
    EXPECT(status == V4RT_OUT_OF_MEMORY && session == NULL && strstr(v4rt_last_error(), "cannot allocate") != NULL);
    v4rt_model_close(model);
    EXPECT(heap.live == 0);
  }
  heap.fail_from = 0, heap.off = 32, model = NULL;
  FAILS(v4rt_model_open(path, &options, &model), V4RT_INVALID_ARGUMENT, "not a multiple of 64");
  EXPECT(heap.live == 0);
  options.device = "reference";
  FAILS(v4rt_model_open(path, &options, &model), V4RT_UNSUPPORTED, "reference takes its own memory");
  heap.off = 0;
  const char* const place[] = {"*.experts.*=cpu"};
  options.place = place, options.n_place = 1;
  OK(v4rt_model_open(path, &options, &model));
  EXPECT(heap.live > 0);
  v4rt_model_close(model);
  EXPECT(heap.live == 0);
  options.device = NULL, options.place = NULL, options.n_place = 0, options.release = NULL;
  FAILS(v4rt_model_open(path, &options, &model), V4RT_INVALID_ARGUMENT, "set together");
}

static int read_file(uint64_t offset, void* to, size_t n, void* user) {
  return fseek(user, (long)offset, SEEK_SET) == 0 && fread(to, 1, n, user) == n;
}

static int cannot_read(uint64_t offset, void* to, size_t n, void* user) {
  (void)offset, (void)to, (void)n, (void)user;
  return 0;
}

/* One file in memory, the other behind a callback: the same logits as from the folder. */
void test_given_files(const char* path, const char* device) {
  char name[1024];
  snprintf(name, sizeof(name), "%s/config.json", path);
  FILE* config = fopen(name, "rb");
  snprintf(name, sizeof(name), "%s/model.safetensors", path);
  FILE* weights = fopen(name, "rb");
  if (config == NULL || weights == NULL) exit(1);
  static char text[1 << 16];
  const size_t length = fread(text, 1, sizeof(text), config);
  fseek(weights, 0, SEEK_END);
  v4rt_file files[] = {
      {.struct_size = sizeof(v4rt_file), .name = "config.json", .data = text, .size = length},
      {.struct_size = sizeof(v4rt_file),
       .name = "model.safetensors",
       .size = (uint64_t)ftell(weights),
       .read = read_file,
       .user = weights},
  };
  v4rt_model_options options = {.struct_size = sizeof(options), .device = device, .context = 64, .chunk = 8};
  v4rt_model *given = NULL, *model = NULL;
  v4rt_session *session = NULL, *other = NULL;
  const float *logits = NULL, *others = NULL;
  OK(v4rt_model_open_files(files, 2, &options, &given));
  OK(v4rt_model_open(path, &options, &model));
  OK(v4rt_session_open(given, &session));
  OK(v4rt_session_open(model, &other));
  OK(v4rt_session_feed(session, 0, kPrompt, kPromptLength, &logits));
  OK(v4rt_session_feed(other, 0, kPrompt, kPromptLength, &others));
  EXPECT(logits != NULL && others != NULL && memcmp(logits, others, 2048 * sizeof(float)) == 0);
  v4rt_session_close(other);
  v4rt_session_close(session);
  v4rt_model_close(model);
  v4rt_model_close(given);

  given = NULL;
  options.weight_cache = "/tmp";
  FAILS(v4rt_model_open_files(files, 2, &options, &given), V4RT_UNSUPPORTED, "cache");
  options.weight_cache = NULL;
  FAILS(v4rt_model_open_files(files, 1, &options, &given), V4RT_NOT_FOUND, "the given files: no .safetensors file");
  FAILS(v4rt_model_open_files(files + 1, 1, &options, &given), V4RT_NOT_FOUND, "config.json: was not given");
  FAILS(v4rt_model_open_files(NULL, 1, &options, &given), V4RT_INVALID_ARGUMENT, "v4rt_file: the array is NULL");
  files[1].struct_size = 40;
  FAILS(v4rt_model_open_files(files, 2, &options, &given), V4RT_INVALID_ARGUMENT, "struct_size of element 1 is 40");
  files[1].struct_size = files[0].struct_size;
  FAILS(v4rt_model_open_files(files, 2, &options, NULL), V4RT_INVALID_ARGUMENT, "model");
  files[1].size -= 5;
  FAILS(v4rt_model_open_files(files, 2, &options, &given), V4RT_CORRUPT, "given file model.safetensors");
  files[1].size = UINT64_MAX;
  FAILS(v4rt_model_open_files(files, 2, &options, &given), V4RT_OUT_OF_MEMORY, "given file model.safetensors");
  files[1].size = 4096;
  files[1].read = cannot_read;
  FAILS(v4rt_model_open_files(files, 2, &options, &given), V4RT_CANCELLED, "reading model.safetensors");
  files[1].read = NULL;
  FAILS(v4rt_model_open_files(files, 2, &options, &given), V4RT_INVALID_ARGUMENT, "neither data nor read");
  files[1].name = "config.json";
  files[1].data = text;
  FAILS(v4rt_model_open_files(files, 2, &options, &given), V4RT_INVALID_ARGUMENT, "'config.json' was given twice");
  EXPECT(given == NULL);
  fclose(config);
  fclose(weights);
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
  EXPECT(info.chunk == 8);

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
