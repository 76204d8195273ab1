# The server's page, in headless Chromium.
. "$(dirname "$0")/lib.sh"
chromium=$(command -v chromium || command -v google-chrome) || skip "Chromium is not here (Debian's package chromium)"
start_server --parallel 3
called="page.py" status=0
timeout 240 python3 "$(dirname "$0")/page.py" "$chromium" "http://127.0.0.1:$port" ${PAGE_SHOTS:-} >"$work/out" 2>"$work/err" || status=$?
exits 0; out_has "all is well"
stop_server 0
finish
