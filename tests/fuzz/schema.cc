// A JSON schema, a zero byte, and choices: the text that they make of what the grammar allows. Whatever was begun goes
// on, until it ends.

#include <algorithm>
#include <vector>

#include "graph/grammar/automaton.h"
#include "graph/grammar/reply_grammar.h"
#include "loaders/files/json_file.h"
#include "tests/fuzz/target.h"

namespace v4rt::fuzz {

void read(std::string_view input) {
  const size_t end = std::min(input.find('\0'), input.size());
  const Json schema = parse_request_json(input.substr(0, end), "the input");
  Automaton automaton(reply_grammar({.schema = JsonField(schema, "schema")}));
  Automaton::State state = automaton.begin();
  for (const char choice : input.substr(std::min(end + 1, input.size()))) {
    std::vector<Automaton::State> next;
    for (int byte = 0; byte < 256; ++byte)
      if (const auto after = automaton.next(state, static_cast<uint8_t>(byte)); after != Automaton::kDead)
        next.push_back(after);
    require(!next.empty(), "a text that cannot go on");
    state = next[static_cast<unsigned char>(choice) % next.size()];
    if (automaton.full()) state = automaton.forget_but(state);
  }
}

}  // namespace v4rt::fuzz
