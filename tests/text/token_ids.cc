// The ids of standard input as 32-bit integers, control tokens recognised: token_ids TOKENIZER_JSON
#include <cstdio>
#include <exception>
#include <iostream>
#include <iterator>

#include "loaders/text/tokenizer.h"

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: token_ids TOKENIZER_JSON\n";
    return 2;
  }
  const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  const auto ids = v4rt::Tokenizer::open(argv[1])->encode(text);
  return std::fwrite(ids.data(), sizeof(ids[0]), ids.size(), stdout) == ids.size() ? 0 : 1;
} catch (const std::exception& e) {
  std::cerr << "token_ids: " << e.what() << "\n";
  return 1;
}
