// The same by the C++ interface, on everything that it has.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory_resource>
#include <stdexcept>
#include <v4rt_engine.hpp>

namespace {

void require(bool ok, const char* what) {
  if (!ok) throw std::logic_error(what);
}

// The exception of a callback comes out of the call as it is, and the session goes on.
template <class F>
bool throws_mine(F&& call) {
  struct Mine {};
  try {
    call([](auto&&...) -> bool { throw Mine(); });
  } catch (const Mine&) {
    return true;
  }
  return false;
}

std::string file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Counts what is taken, and gives it back to the heap.
class Counting : public std::pmr::memory_resource {
 public:
  size_t live = 0, most = 0;

 private:
  void* do_allocate(size_t bytes, size_t alignment) override {
    void* memory = std::pmr::new_delete_resource()->allocate(bytes, alignment);
    most = std::max(most, live += bytes);
    return memory;
  }
  void do_deallocate(void* memory, size_t bytes, size_t alignment) override {
    live -= bytes;
    std::pmr::new_delete_resource()->deallocate(memory, bytes, alignment);
  }
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }
};

v4rt_status status_of(auto&& call) {
  try {
    call();
  } catch (const v4rt::Error& e) {
    return e.status();
  }
  return V4RT_OK;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string path = argc > 1 ? argv[1] : "";
  const std::vector<int32_t> prompt = {0, 320, 1843, 652, 844, 1218, 313, 260};
  v4rt::ModelOptions options{.context = 512, .chunk = 4, .slots = 2, .draft = 1, .numbers = V4RT_PLAIN, .mtp = true};
  require(throws_mine([&](auto fail) {
            options.progress = fail;
            v4rt::Model::open(path, options);
          }),
          "progress of open");
  options.progress = [](std::string_view, double done) { return done < 0.5; };
  require(status_of([&] { v4rt::Model::open(path, options); }) == V4RT_CANCELLED, "open is cancelled");
  options.progress = nullptr;
  require(v4rt::memory_needed(path, options).find("\"cpu\"") != std::string::npos, "memory_needed");
  require(v4rt::devices_json().find("\"cpu\"") != std::string::npos, "devices_json");
  options.memory = {"cpu=1000"};
  require(status_of([&] { v4rt::Model::open(path, options); }) == V4RT_OUT_OF_MEMORY, "memory");
  options.memory.clear();
  options.place = {"*=reference"};
  const v4rt::Model model = v4rt::Model::open(path, options);
  require(model.explain().find("\"reference\"") != std::string::npos, "place, explain");

  v4rt::Session session(model);
  require(throws_mine([&](auto fail) { session.score(prompt, fail); }), "callback of score");
  session.reset();
  size_t rows = 0, further = 0;
  std::vector<float> last;
  session.score(prompt, [&](int64_t i, std::span<const float> logits, std::span<const float> mtp) {
    require(i == static_cast<int64_t>(rows++) && logits.size() == 2048, "rows of score");
    further += mtp.empty() ? 0 : 1;
    last.assign(logits.begin(), logits.end());
  });
  require(rows == 8 && further == 7 && session.position() == 8, "score");
  const v4rt::Snapshot snapshot = session.snapshot();
  session.reset();
  require(throws_mine([&](auto fail) {
            session.on_progress(fail);
            session.feed(prompt);
          }),
          "progress of feed");
  session.on_progress({});
  require(session.position() == 0, "a chunk that was stopped");
  const auto logits = session.feed(prompt);
  require(std::equal(last.begin(), last.end(), logits.begin(), logits.end()), "score and feed");
  session.restore(snapshot);
  require(session.position() == 8, "restore");

  const v4rt::Snapshot from_bytes = v4rt::Snapshot::of(snapshot.bytes());
  session.restore(from_bytes, 1);
  session.fork(1, 0);
  const v4rt::BatchItem both[] = {{0, std::span(prompt).first(1)}, {1, std::span(prompt).first(1)}};
  const auto pair = session.feed(both);
  require(pair.size() == 2 * 2048 && std::equal(pair.begin(), pair.begin() + 2048, pair.begin() + 2048), "batch");
  session.truncate(8);
  session.checkpoint();
  require(session.position() == 8 && session.position(1) == 9, "truncate");
  require(session.draft(prompt[0], 1).size() == 1, "draft");

  const v4rt::Tokenizer tokenizer = v4rt::Tokenizer::open(path);
  require(tokenizer.encode("def factorial(n):\n    ") == std::vector(prompt.begin() + 1, prompt.end()), "encode");
  require(tokenizer.decode(std::span(prompt).subspan(1)) == "def factorial(n):\n    ", "decode");
  const std::vector<v4rt::Message> chat = {{"user", "Hi"}, {"assistant", "Ho", "Hm"}, {"user", "<think>"}};
  require(v4rt::chat_render(chat, {.thinking = true}).ends_with("<｜User｜><think><｜Assistant｜><think>"),
          "chat_render");
  const auto ids = v4rt::chat_encode(tokenizer, chat);
  require(ids.front() == 0 && tokenizer.decode(ids) == v4rt::chat_render(chat), "chat_encode");
  const std::string config = file(path + "/config.json"), weights = file(path + "/model.safetensors");
  const std::vector<v4rt::File> files = {
      {.name = "config.json", .bytes = std::as_bytes(std::span(config))},
      {.name = "model.safetensors",
       .size = weights.size(),
       .read = [&](uint64_t offset,
                   std::span<std::byte> to) { std::memcpy(to.data(), weights.data() + offset, to.size()); }},
  };
  Counting heap;
  {
    const v4rt::Model given = v4rt::Model::open(files, {.context = 64, .chunk = 4, .memory_resource = &heap});
    require(given.info().layers == 5 && heap.live > 0, "given files");
    v4rt::Session(given).feed(prompt);
  }
  require(heap.most > 0 && heap.live == 0, "a memory resource");
  const v4rt::ModelOptions none{.memory_resource = std::pmr::null_memory_resource()};
  require(status_of([&] { v4rt::Model::open(files, none); }) == V4RT_OUT_OF_MEMORY, "one that has none");
  v4rt::Sampler sampler(model, {.temperature = 1, .top_p = 0.001F});  // the likeliest token, by another way
  session.reset();
  require(throws_mine([&](auto fail) { v4rt::generate(session, prompt, {}, sampler, fail); }), "on_token");
  session.reset();
  const auto result =
      v4rt::generate(session, prompt, {}, sampler, [&](int32_t id) { std::cout << tokenizer.token(id); });
  require(result.stop == V4RT_STOP_END_TOKEN && model.end_tokens().size() == 1, "the end");

  int news = 0;
  std::string text;
  v4rt::Engine engine(model);
  v4rt::Answer cancelled = engine.ask({.prompt = prompt, .ignore_end_token = true});
  v4rt::Answer answer = engine.ask({.prompt = prompt, .tokenizer = &tokenizer, .news = [&] { ++news; }});
  cancelled.cancel();
  while (const auto event = answer.next()) text += event->text;
  require(answer.done() && answer.result().stop == V4RT_STOP_END_TOKEN && answer.result().tokens == result.tokens,
          "an engine's answer");
  require(news > 0 && text.starts_with(" if not self._debug:"), "its text");
  while (!cancelled.done()) cancelled.next();
  require(cancelled.result().stop == V4RT_STOP_CANCELLED && engine.info().running == 0, "one that is cancelled");
  require(status_of([&] { engine.ask({.prompt = {}}); }) == V4RT_INVALID_ARGUMENT, "a bad request");
  return 0;
} catch (const std::exception& e) {
  std::cerr << e.what() << "\n";
  return 1;
}
