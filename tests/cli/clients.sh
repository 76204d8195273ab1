# The server, by the clients that programs use: OpenAI's and Anthropic's Python packages.
. "$(dirname "$0")/lib.sh"
skip() { echo "$1: not tested"; exit 77; }

# Kept from run to run.
environment=$XDG_CACHE_HOME/clients
if ! [ -f "$environment/complete" ]; then
  python3 -m venv "$environment" >"$work/log" 2>&1 || skip "no Python environment could be made (python3-venv)"
  "$environment/bin/pip" install -q openai anthropic >"$work/log" 2>&1 || skip "openai and anthropic could not be fetched from PyPI"
  touch "$environment/complete"
fi

"$v4rt" serve mini --port 0 --parallel 3 --quiet >"$work/out" 2>"$work/log" &
server=$!
trap 'kill $server 2>/dev/null; rm -rf "$work"' EXIT
for _ in $(seq 600); do
  port=$(grep -oP 'listening at http://\S+:\K[0-9]+' "$work/log") && break
  kill -0 $server 2>/dev/null || break
  sleep 0.1
done
call_python() {
  called="clients.py" status=0
  "$environment/bin/python" "$(dirname "$0")/clients.py" "http://127.0.0.1:$port" >"$work/out" 2>"$work/err" || status=$?
}
call_python; exits 0; out_has "all is well"
kill -TERM $server; status=0; wait $server || status=$?; exits 0
finish
