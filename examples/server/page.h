#pragma once

#include <string_view>

namespace v4rt::server {

std::string_view page();  // page.html, embedded in the program

}  // namespace v4rt::server
