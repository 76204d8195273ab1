#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <string_view>

// The standard streams as a program may be given them: closed, set not to block, or no stream at all.
namespace v4rt::cli {

// To be called before anything is opened: a file that is opened while one of the three standard descriptors is closed
// takes its place, and would be read or written in its stead. Whatever is closed is occupied by a descriptor that can
// be neither read nor written.
void occupy_standard_streams();
bool is_occupied(int file);  // by such a descriptor

// As read(): waits where there is nothing yet, also on a descriptor that does not block.
ssize_t read_some(int file, std::span<char> block);

// Answers 0 or errno.
int write_all(int file, std::string_view text);

// Why `name` cannot be "read" or "written", for messages.
std::string stream_error(std::string_view name, std::string_view what, int error);

}  // namespace v4rt::cli
