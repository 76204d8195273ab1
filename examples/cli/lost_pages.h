#pragma once

namespace v4rt::cli {

// Files of weights are mapped: when one is cut short, or its disk fails, reading the lost pages raises SIGBUS. After
// this call the program then names the file and ends with status 1.
void report_lost_pages();

}  // namespace v4rt::cli
