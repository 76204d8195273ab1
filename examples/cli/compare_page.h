#pragma once

#include <string_view>

namespace v4rt::cli {

std::string_view compare_page();  // compare_page.html, embedded in the program; REPORT_DATA stands for the data

}  // namespace v4rt::cli
