#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <string_view>

// The standard streams, which may be closed, non-blocking, or not readable or writable at all.
namespace v4rt::cli {

// To be called before anything is opened: a file opened while a standard descriptor is closed would take its number,
// and be read or written as that stream. Fills closed ones with a descriptor that can be neither read nor written.
void occupy_standard_streams();
bool is_occupied(int file);  // by such a descriptor

// Like read(), but waits for data even on a non-blocking descriptor.
ssize_t read_some(int file, std::span<char> block);

// Returns 0 or errno.
int write_all(int file, std::string_view text);

// Why `name` cannot be "read" or "written", for messages.
std::string stream_error(std::string_view name, std::string_view what, int error);

}  // namespace v4rt::cli
