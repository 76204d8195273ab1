# The server, by the clients that programs use: OpenAI's and Anthropic's Python packages.
. "$(dirname "$0")/lib.sh"
python_with openai anthropic
start_server --parallel 3 --quiet
called="clients.py" status=0
"$python" "$(dirname "$0")/clients.py" "http://127.0.0.1:$port" >"$work/out" 2>"$work/err" || status=$?
exits 0; out_has "all is well"
stop_server 0
finish
