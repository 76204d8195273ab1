#!/usr/bin/env bash
# What the tree promises of itself: who may include whom, sizes, a README per folder. Argument: the source folder, this one
# when there is none.
set -u
shopt -s lastpipe  # complain counts in this shell, not in that of a pipe
cd "${1:-$(dirname "$0")/..}" || exit 2
failures=0

complain() { # TITLE; what it is about comes on standard input
  local lines
  lines=$(cat)
  [ -z "$lines" ] && return
  failures=$((failures + 1))
  printf '%s:\n%s\n' "$1" "$lines"
}

# Includes of files under the folder $1 that match none of the prefixes in $2, a regular expression.
foreign() { grep -rnE '^#include "' "$1" --include='*.cc' --include='*.h' --include='*.c' --include='*.hpp' | grep -vE "#include \"($2)"; }

foreign ops 'ops/' | complain "ops includes what is above it"
foreign backend 'ops/|backend/' | complain "backend may include ops only"
foreign loaders 'ops/|loaders/' | complain "loaders may include ops only"
foreign graph 'ops/|backend/|loaders/|graph/' | complain "graph includes what is above it"
sdk_examples='examples/(custom_backend|custom_op|csa_layer)/'
foreign examples 'ops/|backend/|loaders/|graph/' | grep -E "^$sdk_examples" | complain "an example uses more than the SDK"
foreign examples 'graph/(api/|evidence/|grammar/|runtime/|plan/plan\.h|model/v(4|32)_cost\.h)|loaders/|backend/(registry|binary_store|conformance/(case|check))\.h|ops/core/(error|glob|hash|host|human|log)\.h|examples/|version\.h' |
  grep -vE "^$sdk_examples" | complain "examples use more than the public interface"
foreign graph/passes 'ops/|backend/device\.h|graph/(ir|passes)/' | complain "a pass knows more than graphs and devices"
foreign graph/ir 'ops/|graph/ir/' | complain "the IR knows more than ops"
grep -rl 'spdlog/' ops backend loaders graph examples --include='*.cc' --include='*.h' | grep -v '^ops/core/log' |
  complain "only ops/core/log includes spdlog"

grep -rnE '(^|[a-z0-9_>] )(ceil_div|round_up|div_up|align_up)\([^;]*\{|auto (ceil_div|round_up|div_up|align_up)\b' \
  ops backend loaders graph examples tests bench --include='*.cc' --include='*.h' | grep -v '^ops/core/' |
  complain "ceil_div and round_up are in ops/core/arith.h"

git ls-files '*.cc' '*.h' '*.c' '*.hpp' '*.cl' 2>/dev/null | xargs -r wc -l | awk '$2 != "total" && $1 > 600' | complain "more than 600 lines"
if command -v clang-format-14 >/dev/null; then  # the one of Debian 12
  git ls-files '*.cc' '*.h' '*.c' '*.hpp' '*.cl' 2>/dev/null | xargs -r clang-format-14 --dry-run 2>&1 | grep -oE '^[^:]+:[0-9]+' |
    complain "clang-format would change"
else
  echo "clang-format is not here: the format was not checked"
fi
for folder in . ops backend backend/* loaders graph tests examples; do
  [ -d "$folder" ] && [ ! -f "$folder/README.md" ] && echo "$folder"
done | complain "no README.md"

[ "$failures" = 0 ] && echo "the tree is as it promises"
exit "$failures"
