# What the documents tell a reader to type works: their blocks of commands are run, shortened, with the embedded model as
# MODEL; of what installs or builds, every preset, option, target, label and file that is named has to be there.
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 2
export PATH=$(dirname "$v4rt"):$PATH
documents=$(cd "$source" && find . -name '*.md' -not -path './build*' -not -path './.*' | sort)

# The names that stand for something of the reader's.
ln -s "$mini" MODEL
echo '1 2 3 4' >FILE
echo 'The capital of France is Paris.' >TEXT
echo '{"prompt": "The capital of"}' >prompts.jsonl

# Code of a document, "LINE KIND TEXT": of fenced blocks (KIND block, or the block's language), and between backticks (inline).
code() {
  awk '/^```/ { inside = !inside; kind = substr($0, 4) == "" ? "block" : substr($0, 4); next }
       inside { print NR " " kind " " $0; next }
       { n = split($0, part, "`"); for (i = 2; i <= n; i += 2) print NR " inline " part[i] }' "$1"
}

# The command of a line without the explanation, which two blanks set off.
command_of() { sed -E 's/  .*//' <<<"$1"; }

# The same with sizes that take no time; a description of what was measured may name any.
short() {
  local command
  command=$(sed -E "s/ -p 512,2048\b/ -p 4,8/; s/ -p 512\b/ -p 8/; s/ -n 64\b/ -n 4/; s/ -d 65536\b/ -d 32/; s/ -r [0-9]+/ -r 1/" <<<"$1")
  case $command in
    'v4rt synth '*) command+=' --layers 1 --experts 6 --vocab 64' ;;
    'v4rt bench '*) command+=' -r 1' ;;
    'v4rt compare '*) command+=' -p 8 -n 2 -r 1 --continue 2' ;;
    'v4rt check '*) command+=' --ops take_last' ;;
    'v4rt run '*) command+=' -n 4' ;;
  esac
  echo "$command"
}

# A server runs until the next one, or the end; `curl` asks it.
stops() {
  [ -z "$server" ] || { kill $server && wait $server; } 2>/dev/null || true
  server=
}

serves() { # LINE COMMAND
  called="$1: $2" status=0
  stops  # before its output is another's: what it says while it ends would stand there too
  bash -c "exec $2 --port 0" >"$work/out" 2>"$work/err" &
  server=$!
  for _ in $(seq 600); do
    port=$(grep -aoP 'listening at http://\S+:\K[0-9]+' "$work/err") && break
    kill -0 $server 2>/dev/null || break
    sleep 0.1
  done
  check "it listens" [ -n "$port" ]
  ran=$((ran + 1))
}

asks() { # LINE COMMAND
  called="$1: $2" status=0
  bash -c "${2//8080/$port} --fail -m 60" >"$work/out" 2>"$work/err" || status=$?
  exits 0
  check "an answer" grep -q '"choices"' "$work/out"
  ran=$((ran + 1))
}

runs() { # LINE COMMAND: it is run and succeeds
  if [[ $2 == *opencl* ]] && ! grep -q opencl devices; then
    echo "no OpenCL device: not run: $2"
    return
  fi
  called="$1: $(short "$2")" status=0
  bash -c "$(short "$2")" >"$work/out" 2>"$work/err" <<<'def f' || status=$?
  exits 0
  check "it says something" [ -s "$work/out" -o -s "$work/err" ]
  ran=$((ran + 1))
}

# What the checks that follow are about, which is not a call.
about() {
  called=$1 status=-
  : >"$work/out"
  : >"$work/err"
}

# The text of --help of a command, kept from call to call.
help_of() {
  [ -f "help.$1" ] || "$v4rt" $1 --help >"help.$1" 2>/dev/null || rm -f "help.$1"
  cat "help.$1" 2>/dev/null
}

knows() { # LINE COMMAND: the subcommand and its options are those of the program
  local words command option
  read -ra words <<<"$2"
  command=${words[1]:-}
  about "$1: $2"
  [[ $command =~ ^[a-z]+$ ]] || return
  check "there is such a command" [ -n "$(help_of "$command")" ]
  for option in $(grep -oE '(^| )--?[a-z][a-z-]*' <<<"$2"); do
    check "$command has the option $option" grep -qE -- "(^|[ ,])$option([ ,=]|$)" <(help_of "$command")
  done
  understood=$((understood + 1))
}

presets=$(cd "$source" && cmake --list-presets=all) || presets=
has_preset() { # KIND NAME
  awk -v kind="$1" -v name="\"$2\"" '/^Available/ { at = $2 } $1 == name && at == kind { found = 1 } END { exit !found }' <<<"$presets"
}
has_target() { grep -rqE "(add_executable|add_custom_target|v4rt_library|v4rt_tests)\($1\b" "$source" --include=CMakeLists.txt; }
has_label() { grep -rqE "LABELS $1\b|v4rt_tests\(\S+ $1\b" "$source/tests" --include=CMakeLists.txt; }

builds() { # LINE COMMAND: what it names is there
  local kind=configure name
  about "$1: $2"
  [[ $2 == 'cmake --build'* ]] && kind=build
  [[ $2 == ctest* ]] && kind=test
  for name in $(grep -oP -- '--preset \K[a-z-]+' <<<"$2"); do check "$kind preset $name" has_preset $kind "$name"; done
  for name in $(grep -oP -- '-D\KV4RT_[A-Z]+' <<<"$2"); do check "option $name" grep -qE "^(option|set)\($name " "$source/CMakeLists.txt"; done
  for name in $(grep -oP -- '-DCMAKE_TOOLCHAIN_FILE=\K\S+' <<<"$2"); do check "file $name" [ -f "$source/$name" ]; done
  for name in $(grep -oP -- '^ninja -C \S+ \K.*' <<<"$2"); do check "target $name" has_target "$name"; done
  for name in $(grep -oP -- '-L \K\S+' <<<"$2"); do check "label $name" has_label "$name"; done
  understood=$((understood + 1))
}

# One command: those of the program are looked up in its help, and those of blocks are run; between backticks they may lack
# what a reader fills in. Fails for what is no command.
one() { # LINE KIND COMMAND
  case $3 in
    'v4rt serve'*) [ -z "$(help_of serve)" ] || { knows "$1" "$3"; [ "$2" != block ] || serves "$1" "$3"; } ;;
    'curl '*) [ -z "$(help_of serve)" ] || asks "$1" "$3" ;;
    'v4rt '*)
      knows "$1" "$3"
      # Measuring takes long: README.md's example of it stands for those of bench/.
      if [ "$2" = block ] && [[ $1$3 != ./bench/*'v4rt bench'* ]]; then runs "$1" "$3"; fi ;;
    './'*'.sh'* | 'tests/'*'.sh'*)
      about "$1: $3"
      check "a script that can be run" [ -x "$source/${3%% *}" ]
      builds "$1" "$3" ;;
    'cmake '* | 'ctest '* | 'ninja '*) builds "$1" "$3" ;;
    'build/bin/'* | 'taskset '*'build/bin/'* | 'qemu-'*'build-arm64/bin/'*)
      about "$1: $3"
      check "a program that is built" has_target "$(grep -oP 'bin/\K\w+' <<<"$3" | head -n 1)" ;;
    'apt-get '* | 'dpkg '*) understood=$((understood + 1)) ;;
    *) return 1 ;;
  esac
}

# Every command of a line: a && b. A line of a block that begins with none belongs to a figure.
commands() { # LINE KIND TEXT
  local rest=$3 first part
  rest=$(command_of "$rest")
  first=1
  while [ -n "$rest" ]; do
    part=${rest%% && *}
    one "$1" "$2" "$part" || { [ $first = 1 ] && return 1; about "$1: $rest"; check "a command that this test knows: $part" false; }
    first=0
    [ "$part" = "$rest" ] && break
    rest=${rest#*' && '}
  done
}

v4rt devices >devices
server= port=
trap 'stops; rm -rf "$work"' EXIT
ran=0 understood=0 figures=0
for document in $documents; do
  while read -r line kind text; do
    case $kind in
      block | inline) commands "$document:$line" "$kind" "$text" || [ "$kind" = inline ] || figures=$((figures + 1)) ;;
      c) [ "$document" != ./README.md ] || printf '%s\n' "$text" >>snippet ;;
      cpp | cmake | python) ;;  # tests/package compiles and runs them, and C outside README.md
      *) about "$document:$line"; check "a language that this test knows: $kind" false ;;
    esac
  done < <(code "$source/$document")
done

# The C snippet, with declarations of what it leaves out.
cat >snippet.c <<C
#include "graph/api/v4rt.h"
int snippet(const char* path, const int32_t* ids, size_t n, int (*on_token)(int32_t, void*), void* user);
int snippet(const char* path, const int32_t* ids, size_t n, int (*on_token)(int32_t, void*), void* user) {
  v4rt_model* model;
  v4rt_session* session;
  $(cat snippet)
  return 0;
}
C
called="the C snippet of README.md" status=0
"${CC:-cc}" -std=c11 -Wall -Wextra -Werror -fsyntax-only -I"$source" snippet.c >out 2>err || status=$?
exits 0

# Whatever README.md names beside its commands, and nothing that it should name is left out.
about "README.md"
all_help=$(for command in $(help_of '' | grep -oP '^  \K[a-z]+(?= )'); do help_of "$command"; done; help_of '')
for option in $(code "$source/README.md" | grep -v ' cmake \| ctest \| pkg-config ' | grep -oP '(^|[\s`])\K--[a-z][a-z-]+' | sort -u); do
  check "an option of the program: $option" grep -qE -- "(^|[ ,])$option([ ,=]|$)" <<<"$all_help"
done
for option in $(grep -oP '^(option|set)\(\KV4RT_[A-Z]+' "$source/CMakeLists.txt"); do
  check "the option $option has its place in the table" grep -qE "^\|.*\`$option\`" "$source/README.md"
done
for option in $(grep -oP '`\KV4RT_[A-Z]+(?=`)' "$source/README.md"); do
  check "an option of CMakeLists.txt: $option" grep -qE "^(option|set)\($option " "$source/CMakeLists.txt"
done
for preset in $(awk '/^Available/ { at = $2 } at == "configure" && /^  "/ { print $1 }' <<<"$presets" | tr -d '"'); do
  check "the preset $preset is in the list" grep -qF "\`$preset\`" "$source/README.md"
done

# Links to files.
for document in $documents; do
  about "$document"
  for link in $(awk '/^```/ { inside = !inside } !inside' "$source/$document" | grep -oP '\]\(\K[^)#]+' | grep -v '^https\?:'); do
    check "there is a file $link" [ -e "$source/$(dirname "$document")/$link" ]
  done
done

about "all documents"
echo "$ran commands run, $understood looked up, $figures lines of figures"
check "commands were found" [ "$ran" -ge 8 -a "$understood" -ge 30 ]
finish
