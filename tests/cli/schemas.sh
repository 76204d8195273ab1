# 500 random JSON schemas: what the model says under each at temperature 1.5 is valid, by Python's jsonschema. With drafts,
# which the grammar cuts.
. "$(dirname "$0")/lib.sh"
python_with jsonschema
start_server --parallel 16 --queue 64 --draft 2 --quiet
called="schemas.py" status=0
timeout 240 "$python" "$(dirname "$0")/schemas.py" "http://127.0.0.1:$port" 500 >"$work/out" 2>"$work/err" || status=$?
exits 0; cat "$work/out"
stop_server 0
finish
