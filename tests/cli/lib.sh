# What the scripts of this folder share. Each is called with the program and the source folder; `finish` ends it.

set -u
v4rt=$1 source=$2 device=${3:-cpu}
mini=$source/examples/models/v4-mini
json_value=${JSON_VALUE:-$(dirname "$v4rt")/json_value}
work=$(mktemp -d)
server=  # start_server's
trap 'kill $server 2>/dev/null; rm -rf "$work"' EXIT
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

skip() { echo "$1: not tested"; exit 77; }

# A server of the embedded model, at $port: start_server OPTIONS... It writes to $work/log.
start_server() {
  called="v4rt serve mini $*" status=0
  : >"$work/log"  # of a server before
  "$v4rt" serve mini --port 0 "$@" >"$work/out" 2>"$work/log" &
  server=$!
  for _ in $(seq 600); do
    port=$(grep -oP 'listening at http://\S+:\K[0-9]+' "$work/log") && return
    kill -0 $server 2>/dev/null || break
    sleep 0.1
  done
  cat "$work/log"
  check "it listens" false
  finish
}
stop_server() { # STATUS: after SIGTERM
  kill -TERM $server
  status=0
  wait $server || status=$?
  server=
  cp "$work/log" "$work/err"
  exits "$1"
}

# $python: an environment with these packages of PyPI, kept from run to run.
python_with() {
  local environment
  environment=$XDG_CACHE_HOME/python-$(cksum <<<"$*" | cut -d ' ' -f 1)
  python=$environment/bin/python
  [ -f "$environment/complete" ] && return
  rm -rf "$environment"
  python3 -m venv "$environment" >"$work/log" 2>&1 || skip "no Python environment could be made (python3-venv)"
  "$python" -m pip install -q "$@" >"$work/log" 2>&1 || skip "$* could not be fetched from PyPI"
  touch "$environment/complete"
}

finish() {
  printf '%d checks, %d failed\n' "$checks" "$failures"
  [ "$failures" = 0 ] && [ "$checks" -gt 0 ]
  exit
}
