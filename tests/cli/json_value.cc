// json_value FILE POINTER...: the values at these JSON pointers (RFC 6901), one a line; an array gives a line of its
// elements. Fails when the file is not JSON or has no such value.

#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

int main(int argc, char** argv) {
  try {
    std::ifstream file(argc > 1 ? argv[1] : "");
    const auto document = nlohmann::json::parse(file);
    for (int i = 2; i < argc; ++i) {
      const auto& value = document.at(nlohmann::json::json_pointer(argv[i]));
      if (value.is_array()) {
        for (const auto& element : value) std::cout << element << ' ';
        std::cout << '\n';
      } else {
        std::cout << (value.is_string() ? value.get<std::string>() : value.dump()) << '\n';
      }
    }
    return 0;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
