/* A program that uses OpenCL itself: the model runs on its context and queue, and the logits stay there. */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <stdlib.h>
#include <string.h>

#include "api_test.h"

enum { kVocabulary = 2048, kRow = kVocabulary * sizeof(float) };

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
                                .cache_dir = getenv("V4RT_TEST_CACHE"),
                                .opencl_context = context,
                                .opencl_device = device,
                                .opencl_queue = queue};
  test_bad_objects(path, options);
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
    void* memory = NULL;
    uint64_t offset = 0;
    FAILS(v4rt_session_feed_opencl(NULL, 0, kPrompt, 1, &memory, &offset), V4RT_INVALID_ARGUMENT, "session");
    FAILS(v4rt_session_feed_opencl(session, 0, NULL, 1, &memory, &offset), V4RT_INVALID_ARGUMENT, "tokens");
    FAILS(v4rt_session_feed_opencl(session, 0, kPrompt, 1, NULL, &offset), V4RT_INVALID_ARGUMENT, "memory");
    FAILS(v4rt_session_feed_opencl(session, 0, kPrompt, 1, &memory, NULL), V4RT_INVALID_ARGUMENT, "offset");
    v4rt_session_close(session);
    v4rt_model_close(model);
  }
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
