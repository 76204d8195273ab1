# compare: the same bits are said to be, what differs is named; the page opens in a browser without a script error.
. "$(dirname "$0")/lib.sh"
value() { "$json_value" "$work/report/compare.json" "$1"; }

call compare mini --devices cpu,reference,cpu+plain -p 48 -n 2 -r 1 --continue 8 --report "$work/report" --trace "$work/trace"; exits 0
out_has "equal bits"; out_has "another number mode"; out_has "prefill, us/token"; out_has "attend"
check "three devices" [ "$(value /devices/2/name)" = cpu+plain ]
check "equal" [ "$(value /devices/1/ops/equal)" = true -a "$(value /devices/1/text/first_difference)" = null ]
check "plain numbers differ" [ "$(value /devices/2/text/first_difference)" != null -a "$(value /devices/2/ops)" = null ]
check "times of ops" [ "$(value /devices/0/bench/runs/0/ops/0/layers/0 | grep -c '[0-9]')" = 1 ]
check "a trace" grep -q '"name":"L00.attn.attend","ph":"X"' "$work/trace"

# Another order of sums, op by op; and a text of the user's.
printf 'def f(n):\n    return n\n' >"$work/text"
call compare mini --devices cpu,cpu+fast -f "$work/text" -p 8 -n 1 -r 1 --continue 0 --json; exits 0
check "the fast one" [ "$("$json_value" "$work/out" /devices/1/bench/runs/2/fast)" = true ]

# Known logits: of the model's golden file, and as v4rt logits writes them.
call compare mini --devices cpu+plain,cpu --against "$mini/golden/plain.safetensors" -p 8 -n 1 -r 1 --continue 0 --json; exits 0
golden() { "$json_value" "$work/out" "/devices/$1/golden/$2"; }
check "texts by name" [ "$(golden 0 0/name) $(golden 0 1/name) $(golden 0 2/name)" = "chat code short" ]
check "near in that mode, further in the other" awk "BEGIN { exit !($(golden 0 1/mean_kl) < 1e-9 && $(golden 1 1/mean_kl) > 1e-7) }"
check "the same choices" [ "$(golden 0 1/same_best) $(golden 0 1/positions)" = "25 25" ]
echo 0 320 1843 652 >"$work/four.ids"; call logits mini --ids "$work/four.ids" -o "$work/known.safetensors"; exits 0
call compare mini --devices cpu --ids "$work/four.ids" --against "$work/known.safetensors" -p 2 -n 1 -r 1 --report "$work/known"; exits 0; out_has "beside"; out_has "4 of 4"
call compare mini --devices cpu --against "$work/known.safetensors"; refuses 1 "known.safetensors" "for a text of"
call compare mini --devices cpu --against "$work/nothing"; refuses 1 "$work/nothing"

call compare mini --devices cpu,nowhere; refuses 2 "nowhere"
call compare mini --devices cpu,cpu+nothing; refuses 1 "nothing" "mobile-gpu"
call compare mini; refuses 2 "--devices"
printf '5' >"$work/one.ids"; call compare mini --devices cpu --ids "$work/one.ids"; refuses 1 "at least two"
call compare mini --devices cpu --report "$mini/config.json"; refuses 1 "--report"

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || browser=
if [ -z "$browser" ]; then
  echo "no browser here (chromium): the page was not opened"
else
  # What scripts say goes to standard error with the rest of the log; the page marks itself when all of it is drawn.
  opens() { # FOLDER
    called="chromium $1/index.html" status=0
    timeout 120 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$work/profile" --virtual-time-budget=5000 \
      --enable-logging=stderr --host-resolver-rules='MAP * ~NOTFOUND' --dump-dom "file://$work/$1/index.html" >"$work/dom" 2>"$work/log" || status=$?
    exits 0
    check "no script error" [ -z "$(grep CONSOLE "$work/log")" ]
    check "drawn to the end" grep -q '<html[^>]* data-drawn="true"' "$work/dom"
  }
  opens known
  check "known logits" grep -q "Beside known logits" "$work/dom"
  opens report
  check "no logits, no such part" [ -z "$(grep "Beside known logits" "$work/dom")" ]
  check "plots" [ "$(grep -o '<svg' "$work/dom" | wc -l)" -ge 4 ]
fi
finish
