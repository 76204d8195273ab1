# kill -9 while the server answers, and the next one on the same prefix cache. V4RT_KILLS: how many times (6).
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "Python is not here"
called="kills.py" status=0
python3 "$(dirname "$0")/kills.py" "$v4rt" "$work/prefixes" "${V4RT_KILLS:-6}" >"$work/out" 2>"$work/err" || status=$?
exits 0; out_has "all is well"; cat "$work/out"
finish
