// Prints a completion: minimal_cc MODEL [DEVICE] [PROMPT]
#include <iostream>

#include "graph/api/v4rt.hpp"

int main(int argc, char** argv) try {
  if (argc < 2) {
    std::cerr << "usage: minimal_cc MODEL [DEVICE] [PROMPT]\n";
    return 2;
  }
  const v4rt::Checkpoint checkpoint = v4rt::open_checkpoint(argv[1]);
  const auto tokenizer = v4rt::Tokenizer::open(checkpoint.folder + "/tokenizer.json");

  v4rt::ModelOptions options;
  if (argc > 2) options.device = argv[2];
  const auto model = v4rt::Model::open(checkpoint.weights, options);
  v4rt::Session session(model);

  std::vector<int32_t> prompt = tokenizer->encode(argc > 3 ? argv[3] : "def factorial(n):\n    ");
  prompt.insert(prompt.begin(), model->config().bos_token_id);
  v4rt::Sampler greedy({}, model->config().vocab_size);
  v4rt::generate(session, prompt, {.end_tokens = model->config().eos_token_ids}, greedy, [&](int32_t id) {
    std::cout << tokenizer->token_bytes(id) << std::flush;
    return true;
  });
  return 0;
} catch (const std::exception& e) {
  std::cerr << "minimal_cc: " << e.what() << "\n";
  return 1;
}
