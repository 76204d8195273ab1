/* Prints what the embedded model writes after its golden prompt, by the C interface: golden MODEL */
#include <stdio.h>
#include <v4rt.h>

static int print_token(int32_t id, void* tokenizer) {
  const char* bytes = NULL;
  size_t n_bytes = 0;
  if (v4rt_tokenizer_token(tokenizer, id, &bytes, &n_bytes) != V4RT_OK) return 0;
  return fwrite(bytes, 1, n_bytes, stdout) == n_bytes;
}

int main(int argc, char** argv) {
  const char* path = argc > 1 ? argv[1] : "";
  const int32_t prompt[] = {0, 320, 1843, 652, 844, 1218, 313, 260};
  const v4rt_model_options options = {.struct_size = sizeof(options), .numbers = V4RT_PLAIN};
  v4rt_generate_result result = {.struct_size = sizeof(result)};
  v4rt_model* model = NULL;
  v4rt_tokenizer* tokenizer = NULL;
  v4rt_session* session = NULL;
  v4rt_status status = v4rt_model_open(path, &options, &model);
  if (status == V4RT_OK) status = v4rt_tokenizer_open(path, &tokenizer);
  if (status == V4RT_OK) status = v4rt_session_open(model, &session);
  if (status == V4RT_OK) {
    status =
        v4rt_generate(session, prompt, sizeof(prompt) / sizeof(prompt[0]), NULL, NULL, print_token, tokenizer, &result);
  }
  if (status != V4RT_OK) fprintf(stderr, "%s\n", v4rt_last_error());
  v4rt_session_close(session);
  v4rt_tokenizer_close(tokenizer);
  v4rt_model_close(model);
  return status == V4RT_OK && result.stop == V4RT_STOP_END_TOKEN ? 0 : 1;
}
