#include "examples/cli/prefix_cache_options.h"

#include "examples/cli/option_checks.h"

namespace v4rt::cli {

void add_prefix_cache(CLI::App& command, PrefixCacheArguments& arguments) {
  auto* folder = command.add_option("--prefix-cache", arguments.folder,
                                    "Keep the state after prompts in this folder: what begins with the same tokens "
                                    "begins there");
  folder->type_name("DIR")->check(nonempty());
  command.add_option("--prefix-cache-size", arguments.folder_bytes, "What that folder may hold")
      ->transform(bytes_between(1, uint64_t{1} << 62))
      ->default_str("4GiB")
      ->needs(folder);
}

std::unique_ptr<PrefixCache> open_prefix_cache(const PrefixCacheArguments& arguments, const Session& session) {
  if (arguments.folder.empty()) return nullptr;
  PrefixCacheOptions options;
  options.folder = arguments.folder;
  options.folder_bytes = arguments.folder_bytes;
  return std::make_unique<PrefixCache>(options, session);
}

}  // namespace v4rt::cli
