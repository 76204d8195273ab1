# What the scripts of this folder share. Each is called with the program and the source folder; `finish` ends it.

set -u
v4rt=$1 source=$2 device=${3:-cpu}
mini=$source/examples/models/v4-mini
json_value=${JSON_VALUE:-$(dirname "$v4rt")/json_value}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME=${XDG_CACHE_HOME:-$work/cache}  # of compiled OpenCL programs
checks=0 failures=0 called=

# Runs the program with nothing to read; its exit status, output and messages stay for the checks below.
call() {
  called="v4rt $*" status=0
  "$v4rt" "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
}

# The same with standard input from a text: call_with TEXT ARGUMENTS...
call_with() {
  local text=$1
  shift
  called="v4rt $* <<< ${text@Q}" status=0
  printf '%s' "$text" | "$v4rt" "$@" >"$work/out" 2>"$work/err" || status=$?
}

# The same with the standard streams that the call is given: call_here ARGUMENTS... <&- >"$work/out"
call_here() {
  called="v4rt $*" status=0
  "$v4rt" "$@" 2>"$work/err" || status=$?
}

# A command whose standard input (0) or output (1) is a pipe that does not block and holds one page:
# unblocked DESCRIPTOR COMMAND...
unblocked() {
  perl -MFcntl -e '$h = shift() ? *STDOUT : *STDIN; fcntl($h, F_SETFL, fcntl($h, F_GETFL, 0) | O_NONBLOCK) or die;
    $F_SETPIPE_SZ = 1031; fcntl($h, $F_SETPIPE_SZ, 4096); exec @ARGV' "$@"
}

check() { # DESCRIPTION COMMAND...
  local description=$1
  shift
  checks=$((checks + 1))
  "$@" && return
  failures=$((failures + 1))
  printf 'FAILED: %s\n  %s\n  status %s\n' "$called" "$description" "$status"
  printf '  stdout: %s\n' "$(head -c 400 "$work/out")"
  printf '  stderr: %s\n' "$(head -c 1200 "$work/err")"
}

exits() { check "exit status $1" [ "$status" = "$1" ]; }
out_has() { check "stdout holds: $1" grep -qF -- "$1" "$work/out"; }
err_has() { check "stderr holds: $1" grep -qF -- "$1" "$work/err"; }
out_is() { check "stdout is: $1" [ "$(cat "$work/out"; echo .)" = "$1." ]; }
silent() { check "stdout is empty" [ ! -s "$work/out" ]; }
harmless() { check "no control characters on stderr" [ -z "$(tr -d '\n' <"$work/err" | LC_ALL=C grep '[[:cntrl:]]')" ]; }
same_files() { check "$1 and $2 are the same bytes" cmp -s "$1" "$2"; }

# The call failed as it should: status, nothing on stdout, each text somewhere in the message.
refuses() { # STATUS TEXT...
  exits "$1"
  silent
  shift
  local text
  for text in "$@"; do err_has "$text"; done
}

finish() {
  printf '%d checks, %d failed\n' "$checks" "$failures"
  [ "$failures" = 0 ] && [ "$checks" -gt 0 ]
  exit
}
