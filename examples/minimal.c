/* Prints a completion through the C interface: minimal MODEL [DEVICE] [PROMPT] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <v4rt.h>

static int print_token(int32_t id, void* tokenizer) {
  const char* bytes = NULL;
  size_t n_bytes = 0;
  if (v4rt_tokenizer_token(tokenizer, id, &bytes, &n_bytes) != V4RT_OK) return 0;
  fwrite(bytes, 1, n_bytes, stdout);
  fflush(stdout);
  return 1;
}

int main(int argc, char** argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: minimal MODEL [DEVICE] [PROMPT]\n");
    return 2;
  }
  const char* prompt = argc > 3 ? argv[3] : "def factorial(n):\n    ";
  const v4rt_model_options options = {.struct_size = sizeof(options), .device = argc > 2 ? argv[2] : "cpu"};
  v4rt_model_info info = {.struct_size = sizeof(info)};
  v4rt_model* model = NULL;
  v4rt_tokenizer* tokenizer = NULL;
  v4rt_session* session = NULL;
  int32_t* ids = NULL;
  size_t n = 0;

  v4rt_status status = v4rt_model_open(argv[1], &options, &model);
  if (status == V4RT_OK) status = v4rt_model_get_info(model, &info);
  if (status == V4RT_OK) status = v4rt_tokenizer_open(argv[1], &tokenizer);
  if (status == V4RT_OK) status = v4rt_session_open(model, &session);
  if (status == V4RT_OK) status = v4rt_tokenizer_encode(tokenizer, prompt, strlen(prompt), 1, NULL, 0, &n);
  if (status == V4RT_OK) {
    ids = malloc((n + 1) * sizeof(*ids));
    if (ids == NULL) abort();
    ids[0] = info.bos_token;
    status = v4rt_tokenizer_encode(tokenizer, prompt, strlen(prompt), 1, ids + 1, n, &n);
  }
  if (status == V4RT_OK) status = v4rt_generate(session, ids, n + 1, NULL, NULL, print_token, tokenizer, NULL);
  if (status != V4RT_OK) fprintf(stderr, "minimal: %s\n", v4rt_last_error());

  free(ids);
  v4rt_session_close(session);
  v4rt_tokenizer_close(tokenizer);
  v4rt_model_close(model);
  return status == V4RT_OK ? 0 : 1;
}
