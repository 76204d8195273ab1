/* The C interface from C11: api_test MODEL DEVICE [BYTES], with a library whose structures have BYTES more. Says which
 * check failed; exit status 0 when none did. */
#include "tests/api/api_test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static int checks = 0, failures = 0;
static size_t newer_bytes = 0; /* that structures of the library have more than those of the header here */

void expect(int ok, const char* what, int line, const char* file) {
  ++checks;
  if (ok) return;
  ++failures;
  fprintf(stderr, "%s:%d: %s; last error: %s\n", file, line, what, v4rt_last_error());
}

static void test_statuses(void) {
  char version[32];
  snprintf(version, sizeof(version), "%d.%d.%d", V4RT_VERSION_MAJOR, V4RT_VERSION_MINOR, V4RT_VERSION_PATCH);
  EXPECT(strcmp(v4rt_version(), version) == 0);
  EXPECT(v4rt_last_error() != NULL);
  EXPECT(strcmp(v4rt_status_name(V4RT_OK), "ok") == 0);
  for (int status = V4RT_OK; status <= V4RT_BUSY; ++status)
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
  AT(v4rt_model_options, device, 8), AT(v4rt_model_options, place, 16), AT(v4rt_model_options, n_place, 24);
  AT(v4rt_model_options, memory, 32), AT(v4rt_model_options, n_memory, 40), AT(v4rt_model_options, cache_dir, 48);
  AT(v4rt_model_options, weight_cache, 56), AT(v4rt_model_options, progress, 64);
  AT(v4rt_model_options, progress_user, 72), AT(v4rt_model_options, context, 80), AT(v4rt_model_options, chunk, 88);
  AT(v4rt_model_options, threads, 92), AT(v4rt_model_options, numbers, 96), AT(v4rt_model_options, fast, 100);
  AT(v4rt_model_options, slots, 104), AT(v4rt_model_options, rewind, 108), AT(v4rt_model_options, draft, 112);
  AT(v4rt_model_options, mtp, 116), AT(v4rt_model_options, no_mmap, 120), AT(v4rt_model_options, reserved, 124);
  AT(v4rt_model_options, opencl_context, 128), AT(v4rt_model_options, opencl_device, 136);
  AT(v4rt_model_options, opencl_queue, 144), AT(v4rt_model_options, allocate, 152);
  AT(v4rt_model_options, release, 160), AT(v4rt_model_options, memory_user, 168);
  AT(v4rt_model_options, thread_sharing, 176), AT(v4rt_model_options, reserved2, 180);
  AT(v4rt_model_options, program, 184), AT(v4rt_model_options, reserve, 192);
  EXPECT(sizeof(v4rt_model_options) == 200);
  AT(v4rt_model_info, vocab_size, 8), AT(v4rt_model_info, context, 16), AT(v4rt_model_info, layers, 24);
  AT(v4rt_model_info, bos_token, 28), AT(v4rt_model_info, eos_token, 32), AT(v4rt_model_info, has_mtp, 36);
  AT(v4rt_model_info, weight_bytes, 40), AT(v4rt_model_info, state_bytes, 48), AT(v4rt_model_info, arena_bytes, 56);
  AT(v4rt_model_info, chunk, 64), AT(v4rt_model_info, reserved, 68), EXPECT(sizeof(v4rt_model_info) == 72);
  AT(v4rt_file, name, 8), AT(v4rt_file, data, 16), AT(v4rt_file, size, 24), AT(v4rt_file, read, 32);
  AT(v4rt_file, user, 40), EXPECT(sizeof(v4rt_file) == 48);
  AT(v4rt_message, role, 8), AT(v4rt_message, content, 16), AT(v4rt_message, n_content, 24);
  AT(v4rt_message, reasoning, 32), AT(v4rt_message, n_reasoning, 40), AT(v4rt_message, tool_calls, 48);
  AT(v4rt_message, n_tool_calls, 56), AT(v4rt_message, tool_call_id, 64), EXPECT(sizeof(v4rt_message) == 72);
  AT(v4rt_chat_options, thinking, 8), AT(v4rt_chat_options, effort, 12), AT(v4rt_chat_options, revision, 16);
  AT(v4rt_chat_options, keep_reasoning, 20), AT(v4rt_chat_options, no_bos, 24);
  AT(v4rt_chat_options, allow_closed, 28), AT(v4rt_chat_options, tools, 32), AT(v4rt_chat_options, n_tools, 40);
  EXPECT(sizeof(v4rt_chat_options) == 48);
  AT(v4rt_sampler_options, temperature, 8), AT(v4rt_sampler_options, top_p, 12), AT(v4rt_sampler_options, seed, 16);
  AT(v4rt_sampler_options, top_k, 24), AT(v4rt_sampler_options, min_p, 28);
  AT(v4rt_sampler_options, repetition_penalty, 32), AT(v4rt_sampler_options, presence_penalty, 36);
  AT(v4rt_sampler_options, frequency_penalty, 40), AT(v4rt_sampler_options, logprobs, 44);
  AT(v4rt_sampler_options, top_logprobs, 48), AT(v4rt_sampler_options, reserved, 52);
  AT(v4rt_sampler_options, logit_bias, 56), AT(v4rt_sampler_options, n_logit_bias, 64);
  AT(v4rt_sampler_options, filter, 72), AT(v4rt_sampler_options, filter_user, 80);
  EXPECT(sizeof(v4rt_sampler_options) == 88 && sizeof(v4rt_logit_bias) == 8 && sizeof(v4rt_token_logprob) == 8);
  AT(v4rt_reply_options, thinking, 8), AT(v4rt_reply_options, calls, 12), EXPECT(sizeof(v4rt_reply_options) == 16);
  AT(v4rt_batch_item, tokens, 8), AT(v4rt_batch_item, n_tokens, 16), AT(v4rt_batch_item, slot, 24);
  AT(v4rt_batch_item, reserved, 28), AT(v4rt_batch_item, opencl_tokens, 32);
  AT(v4rt_batch_item, opencl_offset, 40), EXPECT(sizeof(v4rt_batch_item) == 48);
  AT(v4rt_generate_options, max_tokens, 8), AT(v4rt_generate_options, slot, 16);
  AT(v4rt_generate_options, ignore_end_token, 20), AT(v4rt_generate_options, draft, 24);
  AT(v4rt_generate_options, reserved, 28), EXPECT(sizeof(v4rt_generate_options) == 32);
  AT(v4rt_generate_result, prompt_tokens, 8), AT(v4rt_generate_result, tokens, 16);
  AT(v4rt_generate_result, drafted, 24), AT(v4rt_generate_result, accepted, 32);
  AT(v4rt_generate_result, prefill_seconds, 40), AT(v4rt_generate_result, decode_seconds, 48);
  AT(v4rt_generate_result, stop, 56), AT(v4rt_generate_result, reserved, 60);
  AT(v4rt_generate_result, cached_tokens, 64), EXPECT(sizeof(v4rt_generate_result) == 72);
  AT(v4rt_engine_options, cache_folder, 8), AT(v4rt_engine_options, cache_folder_bytes, 16);
  AT(v4rt_engine_options, cache_memory, 24), AT(v4rt_engine_options, no_cache, 32);
  AT(v4rt_engine_options, max_waiting, 36), EXPECT(sizeof(v4rt_engine_options) == 40);
  AT(v4rt_engine_info, waiting, 8), AT(v4rt_engine_info, running, 16), EXPECT(sizeof(v4rt_engine_info) == 24);
  AT(v4rt_request, prompt, 8), AT(v4rt_request, n_prompt, 16), AT(v4rt_request, sampler, 24);
  AT(v4rt_request, tokenizer, 32), AT(v4rt_request, stop, 40), AT(v4rt_request, n_stop, 48);
  AT(v4rt_request, cache_space, 56), AT(v4rt_request, news, 64), AT(v4rt_request, user, 72);
  AT(v4rt_request, max_tokens, 80), AT(v4rt_request, ignore_end_token, 88), AT(v4rt_request, reserved, 92);
  EXPECT(sizeof(v4rt_request) == 96);
  AT(v4rt_event, text, 8), AT(v4rt_event, n_bytes, 16), AT(v4rt_event, logprobs, 24);
  AT(v4rt_event, n_logprobs, 32), AT(v4rt_event, kind, 40), AT(v4rt_event, token, 44);
  EXPECT(sizeof(v4rt_event) == 48);
#endif
}

struct Devices {
  int found, stop_after;
};

static int count_device(const v4rt_device_info* info, void* user) {
  struct Devices* devices = user;
  EXPECT(info->struct_size == sizeof(*info) + newer_bytes);
  EXPECT(strlen(info->name) > 0 && info->description != NULL);
  if (strcmp(info->name, "cpu") == 0 || strcmp(info->name, "reference") == 0) ++devices->found;
  return devices->found != devices->stop_after;
}

static void test_devices(void) {
  struct Devices devices = {0};
  OK(v4rt_devices(count_device, &devices));
  EXPECT(devices.found == 2);
  FAILS(v4rt_devices(NULL, NULL), V4RT_INVALID_ARGUMENT, "visit");
  struct Devices one = {.stop_after = 1};
  FAILS(v4rt_devices(count_device, &one), V4RT_CANCELLED, "v4rt_devices");
  EXPECT(one.found == 1);

  char* json = NULL;
  OK(v4rt_devices_json(&json));
  EXPECT(json != NULL && strstr(json, "\"name\": \"cpu\"") != NULL && strstr(json, "\"backends\"") != NULL);
  v4rt_free(json);
  v4rt_free(NULL);
  FAILS(v4rt_devices_json(NULL), V4RT_INVALID_ARGUMENT, "json");
}

struct Log {
  int messages, level;
  char last[256];
};

static void keep_message(int level, const char* message, void* user) {
  struct Log* log = user;
  ++log->messages;
  log->level = level;
  snprintf(log->last, sizeof(log->last), "%s", message);
}

static void test_log(const char* path) {
  struct Log log = {0};
  v4rt_model* model = NULL;
  OK(v4rt_log_to(keep_message, &log, V4RT_LOG_INFO));
  OK(v4rt_model_open(path, NULL, &model));
  v4rt_model_close(model);
  EXPECT(log.messages > 0 && log.level == V4RT_LOG_INFO && strstr(log.last, "plan of") != NULL);
  const int before = log.messages;
  OK(v4rt_log_to(keep_message, &log, V4RT_LOG_ERROR));
  OK(v4rt_model_open(path, NULL, &model));
  v4rt_model_close(model);
  EXPECT(log.messages == before);
  FAILS(v4rt_log_to(keep_message, &log, 4), V4RT_INVALID_ARGUMENT, "level is 4");
  OK(v4rt_log_to(NULL, NULL, V4RT_LOG_WARNING));
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
  v4rt_tokenizer_close(tokenizer);
  v4rt_tokenizer_close(NULL);
}

static void test_chat(const char* path) {
  v4rt_message messages[] = {
      {.struct_size = sizeof(v4rt_message), .role = "system", .content = "Be <think>", .n_content = 10},
      {.struct_size = sizeof(v4rt_message), .role = "user", .content = "Hi", .n_content = 2},
  };
  v4rt_chat_options options = {.struct_size = sizeof(options), .thinking = 1, .no_bos = 1};
  v4rt_tokenizer* tokenizer = NULL;
  char* text = NULL;
  int32_t ids[64], special[64], think = 0;
  size_t n = 0, n_special = 0, n_think = 0, thoughts = 0;
  OK(v4rt_tokenizer_open(path, &tokenizer));
  OK(v4rt_chat_render(messages, 2, &options, &text));
  const char expected[] =
      "Be <think><\xef\xbd\x9cUser\xef\xbd\x9c>Hi<\xef\xbd\x9c"
      "Assistant\xef\xbd\x9c><think>";
  EXPECT(text != NULL && strcmp(text, expected) == 0);
  v4rt_free(text);

  /* What a message quotes is text: only the last <think> is the control token. */
  OK(v4rt_chat_encode(tokenizer, messages, 2, &options, ids, 64, &n));
  OK(v4rt_tokenizer_encode(tokenizer, expected, sizeof(expected) - 1, 1, special, 64, &n_special));
  OK(v4rt_tokenizer_encode(tokenizer, "<think>", 7, 1, &think, 1, &n_think));
  for (size_t i = 0; i < n; ++i) thoughts += ids[i] == think;
  EXPECT(n > n_special && thoughts == 1 && ids[n - 1] == think);
  FAILS(v4rt_chat_encode(tokenizer, messages, 2, &options, ids, n - 1, &n), V4RT_INVALID_ARGUMENT, "room");

  FAILS(v4rt_chat_encode(tokenizer, messages, 1, &options, ids, 64, &n), V4RT_INVALID_ARGUMENT, "answer");
  FAILS(v4rt_chat_encode(NULL, messages, 2, NULL, ids, 64, &n), V4RT_INVALID_ARGUMENT, "tokenizer");
  FAILS(v4rt_chat_render(NULL, 2, NULL, &text), V4RT_INVALID_ARGUMENT, "v4rt_message: the array is NULL");
  FAILS(v4rt_chat_render(messages, 2, NULL, NULL), V4RT_INVALID_ARGUMENT, "text");
  options.effort = 4;
  FAILS(v4rt_chat_render(messages, 2, &options, &text), V4RT_INVALID_ARGUMENT, "effort is 4");
  messages[1].role = "nobody";
  FAILS(v4rt_chat_render(messages, 2, NULL, &text), V4RT_INVALID_ARGUMENT, "nobody");
  messages[1].content = NULL;
  FAILS(v4rt_chat_render(messages, 2, NULL, &text), V4RT_INVALID_ARGUMENT, "content");
  v4rt_tokenizer_close(tokenizer);
}

/* What may be called, what was, and what came of it, as OpenAI's API writes them. */
static void test_tools(void) {
  static const char tools[] =
      "[{\"type\": \"function\", \"function\": {\"name\":\"now\", \"parameters\":{\"type\": \"object\"}}}]";
  static const char calls[] =
      "[{\"id\": \"a\", \"type\": \"function\", \"function\": {\"name\": \"now\", \"arguments\": \"{\\\"zone\\\": "
      "\\\"UTC\\\"}\"}},"
      " {\"id\": \"b\", \"function\": {\"name\": \"now\", \"arguments\": {\"zone\": \"CET\"}}}]";
  v4rt_message messages[] = {
      {.struct_size = sizeof(v4rt_message), .role = "user", .content = "Hi", .n_content = 2},
      {.struct_size = sizeof(v4rt_message),
       .role = "assistant",
       .tool_calls = calls,
       .n_tool_calls = sizeof(calls) - 1},
      {.struct_size = sizeof(v4rt_message), .role = "tool", .content = "2pm", .n_content = 3, .tool_call_id = "b"},
      {.struct_size = sizeof(v4rt_message), .role = "tool", .content = "1pm", .n_content = 3, .tool_call_id = "a"},
  };
  v4rt_chat_options options = {.struct_size = sizeof(options), .tools = tools, .n_tools = sizeof(tools) - 1};
  char* text = NULL;
  OK(v4rt_chat_render(messages, 4, &options, &text));
  EXPECT(text != NULL && strstr(text, "{\"name\": \"now\", \"parameters\": {\"type\": \"object\"}}") != NULL);
  const char* first = text != NULL ? strstr(text, "name=\"zone\" string=\"true\">UTC<") : NULL;
  const char* second = first != NULL ? strstr(first, "name=\"zone\" string=\"true\">CET<") : NULL;
  const char* result = second != NULL ? strstr(second, "<tool_result>1pm</tool_result>") : NULL;
  EXPECT(result != NULL && strstr(result, "<tool_result>2pm</tool_result>") != NULL); /* in the order of the calls */
  v4rt_free(text);

  options.n_tools -= 1;
  FAILS(v4rt_chat_render(messages, 4, &options, &text), V4RT_INVALID_ARGUMENT,
        "v4rt_chat_options.tools: not valid JSON");
  options.tools = "[{}]", options.n_tools = 4;
  FAILS(v4rt_chat_render(messages, 4, &options, &text), V4RT_INVALID_ARGUMENT, "v4rt_chat_options.tools[0].function");
  options.tools = NULL;
  FAILS(v4rt_chat_render(messages, 4, &options, &text), V4RT_INVALID_ARGUMENT, "v4rt_chat_options.tools is NULL");
  messages[1].tool_calls = "{}", messages[1].n_tool_calls = 2;
  FAILS(v4rt_chat_render(messages, 4, NULL, &text), V4RT_INVALID_ARGUMENT,
        "v4rt_message.tool_calls is object, not a list");
}

struct Answer {
  char text[5][64]; /* by v4rt_piece_kind */
  int calls, stop;
};

static int take_piece(int32_t kind, const char* text, size_t n_bytes, void* user) {
  struct Answer* answer = user;
  strncat(answer->text[kind], text, n_bytes);
  ++answer->calls;
  return answer->stop == 0;
}

static void test_reply(const char* path) {
  v4rt_tokenizer* tokenizer = NULL;
  v4rt_reply* reply = NULL;
  v4rt_reply_options options = {.struct_size = sizeof(options), .thinking = 1, .calls = 1};
  int32_t ids[64];
  size_t n = 0;
  const char text[] =
      "Hm.</think>Look:\n\n<\xef\xbd\x9c"
      "DSML\xef\xbd\x9ctool_calls>\n<\xef\xbd\x9c"
      "DSML\xef\xbd\x9cinvoke name=\"f\">\n</\xef\xbd\x9c"
      "DSML\xef\xbd\x9cinvoke>\n</\xef\xbd\x9c"
      "DSML\xef\xbd\x9ctool_calls>";
  OK(v4rt_tokenizer_open(path, &tokenizer));
  OK(v4rt_tokenizer_encode(tokenizer, text, sizeof(text) - 1, 1, ids, 64, &n));
  OK(v4rt_reply_open(tokenizer, &options, &reply));
  if (reply == NULL) return;
  struct Answer answer = {.calls = 0};
  for (size_t i = 0; i < n; ++i) OK(v4rt_reply_push(reply, ids[i], take_piece, &answer));
  OK(v4rt_reply_end(reply, take_piece, &answer));
  EXPECT(strcmp(answer.text[V4RT_PIECE_REASONING], "Hm.") == 0);
  EXPECT(strcmp(answer.text[V4RT_PIECE_CONTENT], "Look:") == 0);
  EXPECT(strcmp(answer.text[V4RT_PIECE_CALL], "f") == 0);
  EXPECT(strcmp(answer.text[V4RT_PIECE_ARGUMENTS], "{}") == 0);
  v4rt_reply_close(reply);

  OK(v4rt_reply_open(tokenizer, NULL, &reply));
  answer.stop = 1;
  FAILS(v4rt_reply_push(reply, ids[0], take_piece, &answer), V4RT_CANCELLED, "stopped by the caller");
  FAILS(v4rt_reply_push(reply, ids[0], NULL, NULL), V4RT_INVALID_ARGUMENT, "piece");
  FAILS(v4rt_reply_push(NULL, ids[0], take_piece, &answer), V4RT_INVALID_ARGUMENT, "reply");
  FAILS(v4rt_reply_end(reply, NULL, NULL), V4RT_INVALID_ARGUMENT, "piece");
  v4rt_reply_close(reply);
  v4rt_reply_close(NULL);
  FAILS(v4rt_reply_open(NULL, NULL, &reply), V4RT_INVALID_ARGUMENT, "tokenizer");
  FAILS(v4rt_reply_open(tokenizer, NULL, NULL), V4RT_INVALID_ARGUMENT, "reply");
  options.calls = 2;
  FAILS(v4rt_reply_open(tokenizer, &options, &reply), V4RT_INVALID_ARGUMENT, "calls is 2");
  v4rt_tokenizer_close(tokenizer);
}

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
  if (argc < 3) return 2;
  if (argc > 3) newer_bytes = strtoul(argv[3], NULL, 10);
  test_statuses();
  test_layouts();
  test_devices();
  test_tokenizer(argv[1]);
  test_chat(argv[1]);
  test_tools();
  test_reply(argv[1]);
  test_errors_are_per_thread();
  test_bad_models(argv[1], argv[2]);
  test_newer_options(argv[1]);
  test_log(argv[1]);
  test_cancelled_open(argv[1], argv[2]);
  test_memory(argv[1], argv[2]);
  test_score(argv[1], argv[2]);
  test_given_files(argv[1], argv[2]);
  test_sequences(argv[1], argv[2]);
  test_engine(argv[1], argv[2]);
  test_filter(argv[1], argv[2]);
  if (strcmp(argv[2], "cpu") == 0) test_allocator(argv[1]);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  if (strcmp(argv[2], "cpu") == 0) test_threads_that_do_not_start(argv[1]);
#endif

  v4rt_model* model = NULL;
  const v4rt_model_options options = {
      .struct_size = sizeof(options), .device = argv[2], .numbers = V4RT_PLAIN, .context = 512, .chunk = 8};
  OK(v4rt_model_open(argv[1], &options, &model));
  if (model != NULL) {
    test_info(model);
    test_explain(model);
    test_session(model);
    test_cancelled_prompt(model);
    test_sampler(model);
    test_generate(model);

    /* A session outlives the handle of its model. */
    v4rt_session* session = NULL;
    OK(v4rt_session_open(model, &session));
    v4rt_model_close(model);
    OK(v4rt_session_feed(session, 0, kPrompt, 3, NULL));
    v4rt_session_close(session);
  }
#ifdef V4RT_HAVE_OPENCL
  if (strcmp(argv[2], "opencl") == 0) test_host_opencl(argv[1]);
#endif
  printf("%d checks, %d failed\n", checks, failures);
  return failures == 0 ? 0 : 1;
}
