/* What the files of the C interface's test share. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <v4rt.h>

void expect(int ok, const char* what, int line, const char* file);

#define EXPECT(condition) expect((condition), #condition, __LINE__, __FILE__)
#define OK(call) expect((call) == V4RT_OK, #call " succeeds", __LINE__, __FILE__)

/* The call fails with `status` and a message that names `part`. */
#define FAILS(call, status, part)                                                               \
  do {                                                                                          \
    expect((call) == (status), #call " fails with " #status, __LINE__, __FILE__);               \
    expect(strstr(v4rt_last_error(), part) != NULL, "message names " part, __LINE__, __FILE__); \
  } while (0)

static const int32_t kPrompt[] = {0, 320, 1843, 652, 844, 1218, 313, 260, 5, 17};
enum { kPromptLength = sizeof(kPrompt) / sizeof(kPrompt[0]) };

/* models.c: opening, and what is known of an open one */
void test_newer_options(const char* path);
void test_bad_models(const char* path, const char* device);
void test_cancelled_open(const char* path, const char* device);
void test_memory(const char* path, const char* device);
void test_allocator(const char* path);
void test_threads_that_do_not_start(const char* path);
void test_given_files(const char* path, const char* device);
void test_info(const v4rt_model* model);
void test_explain(const v4rt_model* model);

/* sessions.c: with a model of 512 positions and chunks of 8 tokens */
void test_session(v4rt_model* model);
void test_cancelled_prompt(v4rt_model* model);
void test_sampler(v4rt_model* model);
void test_generate(v4rt_model* model);
void test_sequences(const char* path, const char* device);

void test_engine(const char* path, const char* device); /* engine.c */

void test_filter(const char* path, const char* device); /* filter.c */

void test_host_opencl(const char* path); /* host_opencl.c: where the build has OpenCL */
void test_score(const char* path, const char* device);
