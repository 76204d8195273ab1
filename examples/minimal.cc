// Prints a completion through the C++ interface: minimal_cc MODEL [DEVICE] [PROMPT]
#include <iostream>
#include <v4rt.hpp>

int main(int argc, char** argv) try {
  if (argc < 2) {
    std::cerr << "usage: minimal_cc MODEL [DEVICE] [PROMPT]\n";
    return 2;
  }
  v4rt::ModelOptions options;
  if (argc > 2) options.device = argv[2];
  const v4rt::Model model = v4rt::Model::open(argv[1], options);
  const v4rt::Tokenizer tokenizer = v4rt::Tokenizer::open(argv[1]);
  v4rt::Session session(model);
  v4rt::Sampler greedy(model);

  std::vector<int32_t> prompt = tokenizer.encode(argc > 3 ? argv[3] : "def factorial(n):\n    ", true);
  prompt.insert(prompt.begin(), model.info().bos_token);
  v4rt::generate(session, prompt, {}, greedy, [&](int32_t id) { std::cout << tokenizer.token(id) << std::flush; });
  return 0;
} catch (const std::exception& e) {
  std::cerr << "minimal_cc: " << e.what() << "\n";
  return 1;
}
