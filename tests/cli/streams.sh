# What goes to which stream, readers that leave, and Ctrl-C.
. "$(dirname "$0")/lib.sh"

call run mini -p "The" -n 4 --json; exits 0
check "statistics are in the object, not among the messages" [ ! -s "$work/err" ]

# A reader that has gone ends the program without a word.
called="v4rt run | head" status=0
{ "$v4rt" run mini -p "The" -n 400 --ignore-end 2>"$work/err"; echo $? >"$work/status"; } | head -c 10 >"$work/out"
status=$(cat "$work/status"); exits 141
check "no complaint" [ ! -s "$work/err" ]

if [ -c /dev/full ]; then
  called="v4rt run >/dev/full" status=0
  "$v4rt" run mini -p "The" -n 4 >/dev/full 2>"$work/err" || status=$?
  : >"$work/out"; refuses 1 "standard output"
fi
called="v4rt run 2>&-" status=0
"$v4rt" run mini -p "The" -n 4 >"$work/out" 2>&- || status=$?
exits 0; check "a completion" [ -s "$work/out" ]

# Ctrl-C: what was made is kept, and the exit status tells.
called="v4rt run, interrupted" status=0
"$v4rt" run mini -p "The" -n 1000000 --ignore-end --context 1048576 >"$work/out" 2>"$work/err" &
program=$!
for _ in $(seq 300); do [ -s "$work/out" ] && break; sleep 0.1; done
kill -INT $program
wait $program || status=$?
exits 130; err_has "interrupted"; err_has "decode"; check "a completion" [ -s "$work/out" ]

seq 0 2000 >"$work/some.ids"
called="v4rt logits, interrupted" status=0
"$v4rt" logits mini --ids "$work/some.ids" --device reference -o "$work/logits" >"$work/out" 2>"$work/err" &
program=$!
for _ in $(seq 300); do ls "$work" | grep -q 'logits.*part' && break; sleep 0.1; done
kill -INT $program
wait $program || status=$?
refuses 130 "interrupted"
check "nothing is left behind" [ -z "$(ls "$work" | grep logits)" ]
finish
