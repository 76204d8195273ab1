/* A program that uses OpenCL itself: the model runs on its context and queue, its kernels write the ids, and the logits
 * stay there. */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <stdlib.h>
#include <string.h>

#include "api_test.h"

enum { kVocabulary = 2048, kRow = kVocabulary * sizeof(float), kTokens = 12, kIds = kPromptLength + kTokens };

#define REFUSES(options, why)                                                     \
  do {                                                                            \
    v4rt_model* model = NULL;                                                     \
    FAILS(v4rt_model_open(path, &(options), &model), V4RT_INVALID_ARGUMENT, why); \
  } while (0)

static void test_bad_objects(const char* path, v4rt_model_options options) {
  cl_int status = CL_SUCCESS;
  const cl_device_id device = options.opencl_device;
  const cl_context other = clCreateContext(NULL, 1, &device, NULL, NULL, &status);
  EXPECT(status == CL_SUCCESS);
  v4rt_model_options bad = options;
  bad.opencl_context = other;
  REFUSES(bad, "of another context");
  bad.opencl_context = NULL;
  REFUSES(bad, "has given none");
  bad = options;
  bad.opencl_device = (void*)options.opencl_queue;
  REFUSES(bad, "not one of its context");
  const cl_command_queue unordered =
      clCreateCommandQueue(options.opencl_context, device, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &status);
  if (status == CL_SUCCESS) {
    bad = options;
    bad.opencl_queue = unordered;
    REFUSES(bad, "out of order");
    clReleaseCommandQueue(unordered);
  }
  clReleaseContext(other);
}

/* expected: the logits after kPrompt, as v4rt_session_feed gives them. */
static void test_logits(v4rt_session* session, cl_command_queue queue, cl_mem mine, const float* expected) {
  static float logits[kVocabulary];
  void* memory = NULL;
  uint64_t offset = 0;
  OK(v4rt_session_reset(session, 0));
  OK(v4rt_session_feed_opencl(session, 0, kPrompt, kPromptLength, &memory, &offset));
  EXPECT(clEnqueueCopyBuffer(queue, memory, mine, offset, 0, kRow, 0, NULL, NULL) == CL_SUCCESS);
  EXPECT(clEnqueueReadBuffer(queue, mine, CL_TRUE, 0, kRow, logits, 0, NULL, NULL) == CL_SUCCESS);
  EXPECT(memcmp(logits, expected, kRow) == 0);
}

/* The host's kernels: one writes the prompt, one chooses the token after it, as a sampler would. */
static const char kKernels[] =
    "kernel void write(global int* ids, global const int* prompt, int n, int at, int wrong) {"
    "  for (int i = 0; i < n; ++i) ids[i] = i == at ? wrong : prompt[i];"
    "}"
    "kernel void choose(global const uchar* memory, ulong at, int n, global int* ids, int next) {"
    "  global const float* logits = (global const float*)(memory + at);"
    "  int best = 0;"
    "  for (int i = 1; i < n; ++i) if (logits[i] > logits[best]) best = i;"
    "  ids[next] = best;"
    "}";

struct Host {
  cl_context context;
  cl_device_id device;
  cl_command_queue queue;
  cl_program program;
  cl_kernel write, choose;
  cl_mem prompt, ids; /* kIds of the latter */
};

static struct Host open_host(cl_context context, cl_device_id device, cl_command_queue queue) {
  cl_int status = CL_SUCCESS;
  const char* source = kKernels;
  struct Host host = {.context = context, .device = device, .queue = queue};
  host.program = clCreateProgramWithSource(context, 1, &source, NULL, &status);
  EXPECT(clBuildProgram(host.program, 1, &device, "", NULL, NULL) == CL_SUCCESS);
  host.write = clCreateKernel(host.program, "write", &status);
  host.choose = clCreateKernel(host.program, "choose", &status);
  host.prompt =
      clCreateBuffer(context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, sizeof(kPrompt), (void*)kPrompt, &status);
  host.ids = clCreateBuffer(context, CL_MEM_READ_WRITE, kIds * sizeof(int32_t), NULL, &status);
  EXPECT(status == CL_SUCCESS);
  return host;
}

static void close_host(struct Host* host) {
  clReleaseMemObject(host->ids);
  clReleaseMemObject(host->prompt);
  clReleaseKernel(host->write);
  clReleaseKernel(host->choose);
  clReleaseProgram(host->program);
}

static void run(const struct Host* host, cl_kernel kernel) {
  const size_t one = 1;
  EXPECT(clEnqueueNDRangeKernel(host->queue, kernel, 1, NULL, &one, &one, 0, NULL, NULL) == CL_SUCCESS);
}

/* The prompt, with `wrong` at place `at`; -1: nowhere. `wait`: as a host does that has lent no queue. */
static void write_prompt(const struct Host* host, cl_int at, cl_int wrong, int wait) {
  const cl_int n = kPromptLength;
  clSetKernelArg(host->write, 0, sizeof(cl_mem), &host->ids);
  clSetKernelArg(host->write, 1, sizeof(cl_mem), &host->prompt);
  clSetKernelArg(host->write, 2, sizeof(n), &n);
  clSetKernelArg(host->write, 3, sizeof(at), &at);
  clSetKernelArg(host->write, 4, sizeof(wrong), &wrong);
  run(host, host->write);
  if (wait) clFinish(host->queue);
}

static void choose(const struct Host* host, cl_mem memory, cl_ulong offset, cl_int next, int wait) {
  const cl_int n = kVocabulary;
  clSetKernelArg(host->choose, 0, sizeof(cl_mem), &memory);
  clSetKernelArg(host->choose, 1, sizeof(offset), &offset);
  clSetKernelArg(host->choose, 2, sizeof(n), &n);
  clSetKernelArg(host->choose, 3, sizeof(cl_mem), &host->ids);
  clSetKernelArg(host->choose, 4, sizeof(next), &next);
  run(host, host->choose);
  if (wait) clFinish(host->queue);
}

static v4rt_batch_item item_of(const struct Host* host, int first, size_t n) {
  return (v4rt_batch_item){.struct_size = sizeof(v4rt_batch_item),
                           .n_tokens = n,
                           .opencl_tokens = host->ids,
                           .opencl_offset = (uint64_t)first * sizeof(int32_t)};
}

static int keep_id(int32_t id, void* user) {
  int32_t** to = user;
  *(*to)++ = id;
  return 1;
}

/* From the prompt to the last token no id and no logit comes to the host: the same tokens. */
static void test_ids(v4rt_session* session, const struct Host* host, int wait) {
  int32_t expected[kTokens], *to = expected, ids[kIds];
  const v4rt_generate_options options = {.struct_size = sizeof(options), .max_tokens = kTokens, .ignore_end_token = 1};
  OK(v4rt_session_reset(session, 0));
  OK(v4rt_generate(session, kPrompt, kPromptLength, &options, NULL, keep_id, &to, NULL));
  OK(v4rt_session_reset(session, 0));
  void* memory = NULL;
  uint64_t offset = 0;
  write_prompt(host, -1, 0, wait);
  for (int n = 0; n < kPromptLength; n += 5) { /* a chunk holds 8 */
    const v4rt_batch_item part = item_of(host, n, 5);
    OK(v4rt_session_feed_batch_opencl(session, &part, 1, &memory, &offset));
  }
  for (int n = kPromptLength; n < kIds; ++n) {
    choose(host, memory, offset, n, wait);
    const v4rt_batch_item next = item_of(host, n, 1);
    if (n + 1 < kIds) OK(v4rt_session_feed_batch_opencl(session, &next, 1, &memory, &offset));
  }
  EXPECT(clEnqueueReadBuffer(host->queue, host->ids, CL_TRUE, 0, sizeof(ids), ids, 0, NULL, NULL) == CL_SUCCESS);
  EXPECT(to == expected + kTokens && memcmp(ids + kPromptLength, expected, sizeof(expected)) == 0);
}

/* Ids outside the vocabulary are found on the device, and read as 0. */
static void test_wrong_ids(v4rt_session* session, const struct Host* host, int wait) {
  static float expected[2 * kVocabulary];
  const float* logits = NULL;
  const int32_t zeros[] = {0, 320, 1843, 0};
  v4rt_batch_item items[] = {
      {.struct_size = sizeof(v4rt_batch_item), .tokens = kPrompt, .n_tokens = 2, .slot = 1},
      {.struct_size = sizeof(v4rt_batch_item), .tokens = zeros, .n_tokens = 4, .slot = 0},
  };
  OK(v4rt_session_reset(session, 0));
  OK(v4rt_session_reset(session, 1));
  OK(v4rt_session_feed_batch(session, items, 2, &logits));
  memcpy(expected, logits, kRow);
  OK(v4rt_session_feed(session, 0, kPrompt, 1, &logits));
  memcpy(expected + kVocabulary, logits, kRow);
  const int32_t wrong[] = {-1, kVocabulary, INT32_MIN, INT32_MAX, -kVocabulary, 1 << 20};
  for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); ++i) {
    v4rt_session_reset(session, 0);
    v4rt_session_reset(session, 1);
    write_prompt(host, 3, wrong[i], wait);
    items[1] = item_of(host, 0, 4);
    void* memory = NULL;
    uint64_t offset = 0;
    if (i % 2 == 0)
      FAILS(v4rt_session_feed_batch(session, items, 2, &logits), V4RT_INVALID_ARGUMENT, "token 3 for sequence 0");
    else
      FAILS(v4rt_session_feed_batch_opencl(session, items, 2, &memory, &offset), V4RT_INVALID_ARGUMENT, "of 2048");
    int64_t position = 0;
    OK(v4rt_session_position(session, 0, &position));
    EXPECT(position == 4);
    OK(v4rt_session_feed(session, 0, kPrompt, 1, &logits));
    EXPECT(memcmp(logits, expected + kVocabulary, kRow) == 0);
  }
  OK(v4rt_session_reset(session, 1));
  OK(v4rt_session_feed_batch(session, items, 1, &logits)); /* the other sequence: as ever */
  EXPECT(memcmp(logits, expected, kRow) == 0);
}

static void test_refused_ids(const char* path, const v4rt_model_options* options, const struct Host* host,
                             const char* why) {
  const v4rt_batch_item item = item_of(host, 0, 1);
  v4rt_model* model = NULL;
  v4rt_session* session = NULL;
  const float* logits = NULL;
  OK(v4rt_model_open(path, options, &model));
  OK(v4rt_session_open(model, &session));
  EXPECT(v4rt_session_feed_batch(session, &item, 1, &logits) == V4RT_UNSUPPORTED);
  EXPECT(strstr(v4rt_last_error(), why) != NULL);
  v4rt_session_close(session);
  v4rt_model_close(model);
}

static void test_bad_ids(const char* path, v4rt_model_options options, v4rt_session* session, const struct Host* host) {
  cl_int status = CL_SUCCESS;
  const float* logits = NULL;
  v4rt_batch_item item = item_of(host, kIds - 1, 2);
  FAILS(v4rt_session_feed_batch(session, &item, 1, &logits), V4RT_INVALID_ARGUMENT, "which has 88");
  item.opencl_offset = UINT64_MAX - 3;
  FAILS(v4rt_session_feed_batch(session, &item, 1, &logits), V4RT_INVALID_ARGUMENT, "which has 88");
  item.opencl_offset = 2;
  FAILS(v4rt_session_feed_batch(session, &item, 1, &logits), V4RT_INVALID_ARGUMENT, "a multiple of 4");
  item.opencl_offset = 0;
  item.n_tokens = 0;
  FAILS(v4rt_session_feed_batch(session, &item, 1, &logits), V4RT_INVALID_ARGUMENT, "one at least");
  item.n_tokens = kIds;
  FAILS(v4rt_session_feed_batch(session, &item, 1, &logits), V4RT_INVALID_ARGUMENT, "chunk holds 8");
  item.n_tokens = 1;
  item.tokens = kPrompt;
  FAILS(v4rt_session_feed_batch(session, &item, 1, &logits), V4RT_INVALID_ARGUMENT, "both set");
  item.opencl_tokens = NULL;
  item.opencl_offset = 4;
  FAILS(v4rt_session_feed_batch(session, &item, 1, &logits), V4RT_INVALID_ARGUMENT, "without opencl_tokens");
  const cl_context other = clCreateContext(NULL, 1, &host->device, NULL, NULL, &status);
  const cl_mem foreign = clCreateBuffer(other, CL_MEM_READ_WRITE, 64, NULL, &status);
  item = item_of(host, 0, 1);
  item.opencl_tokens = foreign;
  FAILS(v4rt_session_feed_batch(session, &item, 1, &logits), V4RT_INVALID_ARGUMENT, "of the model's context");
  clReleaseMemObject(foreign);
  clReleaseContext(other);

  const char* const embed_elsewhere[] = {"embed=cpu"};
  v4rt_model_options drafting = options, placed = options;
  drafting.draft = 1;
  placed.place = embed_elsewhere;
  placed.n_place = 1;
  test_refused_ids(path, &drafting, host, "opened for drafts");
  test_refused_ids(path, &placed, host, "read on cpu");
}

static void test_on(const char* path, cl_device_id device) {
  cl_int status = CL_SUCCESS;
  const cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &status);
  EXPECT(status == CL_SUCCESS);
  const cl_command_queue queue = clCreateCommandQueue(context, device, 0, &status);
  EXPECT(status == CL_SUCCESS);
  const cl_mem mine = clCreateBuffer(context, CL_MEM_READ_WRITE, kRow, NULL, &status);
  EXPECT(status == CL_SUCCESS);
  v4rt_model_options options = {.struct_size = sizeof(options),
                                .device = "opencl:host",
                                .context = 64,
                                .chunk = 8,
                                .slots = 2,
                                .cache_dir = getenv("V4RT_TEST_CACHE"),
                                .opencl_context = context,
                                .opencl_device = device,
                                .opencl_queue = queue};
  test_bad_objects(path, options);
  struct Host host = open_host(context, device, queue);
  for (int lent = 1; lent >= 0; --lent) {
    v4rt_model* model = NULL;
    v4rt_session* session = NULL;
    const float* logits = NULL;
    static float expected[kVocabulary];
    options.opencl_queue = lent ? queue : NULL;
    OK(v4rt_model_open(path, &options, &model));
    OK(v4rt_session_open(model, &session));
    if (session == NULL) return;
    OK(v4rt_session_feed(session, 0, kPrompt, kPromptLength, &logits));
    memcpy(expected, logits, kRow);
    test_logits(session, queue, mine, expected);
    test_ids(session, &host, !lent);
    test_wrong_ids(session, &host, !lent);
    if (lent) test_bad_ids(path, options, session, &host);
    void* memory = NULL;
    uint64_t offset = 0;
    FAILS(v4rt_session_feed_opencl(NULL, 0, kPrompt, 1, &memory, &offset), V4RT_INVALID_ARGUMENT, "session");
    FAILS(v4rt_session_feed_opencl(session, 0, NULL, 1, &memory, &offset), V4RT_INVALID_ARGUMENT, "tokens");
    FAILS(v4rt_session_feed_opencl(session, 0, kPrompt, 1, NULL, &offset), V4RT_INVALID_ARGUMENT, "memory");
    FAILS(v4rt_session_feed_opencl(session, 0, kPrompt, 1, &memory, NULL), V4RT_INVALID_ARGUMENT, "offset");
    v4rt_session_close(session);
    v4rt_model_close(model);
  }
  close_host(&host);
  clReleaseMemObject(mine);
  clReleaseCommandQueue(queue);
  cl_uint references = 0;
  EXPECT(clGetContextInfo(context, CL_CONTEXT_REFERENCE_COUNT, sizeof(references), &references, NULL) == CL_SUCCESS);
  EXPECT(references == 1);
  clReleaseContext(context);
}

static void test_elsewhere(const char* path) {
  v4rt_model* model = NULL;
  v4rt_session* session = NULL;
  void* memory = NULL;
  uint64_t offset = 0;
  v4rt_model_options options = {.struct_size = sizeof(options), .device = "cpu", .context = 64};
  OK(v4rt_model_open(path, &options, &model));
  OK(v4rt_session_open(model, &session));
  FAILS(v4rt_session_feed_opencl(session, 0, kPrompt, kPromptLength, &memory, &offset), V4RT_UNSUPPORTED,
        "not of an OpenCL device");
  const float* logits = NULL;
  const v4rt_batch_item item = {
      .struct_size = sizeof(item), .n_tokens = 1, .opencl_tokens = &logits}; /* which nobody looks at */
  FAILS(v4rt_session_feed_batch(session, &item, 1, &logits), V4RT_UNSUPPORTED, "not on opencl:host");
  v4rt_session_close(session);
  v4rt_model_close(model);
}

/* On the first device that there is. */
void test_host_opencl(const char* path) {
  cl_platform_id platforms[16];
  cl_device_id device = NULL;
  cl_uint n = 0;
  EXPECT(clGetPlatformIDs(16, platforms, &n) == CL_SUCCESS);
  for (cl_uint i = 0; i < n && i < 16; ++i)
    if (clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, 1, &device, NULL) == CL_SUCCESS) break;
  EXPECT(device != NULL);
  if (device == NULL) return;
  test_on(path, device);
  test_elsewhere(path);
}
