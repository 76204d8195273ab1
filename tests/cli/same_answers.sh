# One answer, whatever is answered beside it, kept before it or guessed ahead.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "Python is not here"
for options in "" "--draft 2" "--draft 1 --threads 1 --prefix-cache-memory 1MiB --prefix-cache $work/prefixes"; do
  start_server --parallel 64 --queue 64 --quiet $options
  called="same_answers.py, $options" status=0
  python3 "$(dirname "$0")/same_answers.py" "http://127.0.0.1:$port" "$work/answers" >"$work/out" 2>"$work/err" || status=$?
  exits 0; out_has "all is well"
  stop_server 0
done
finish
