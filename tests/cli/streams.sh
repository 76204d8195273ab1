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

# Standard descriptors that are closed: no file that the program opens takes their place.
call_here run mini -n 2 <&- >"$work/out"; refuses 1 "standard input is closed"
call_here chat mini <&- >"$work/out"; refuses 1 "standard input is closed"
call_here logits mini --ids - -o "$work/o" <&- >"$work/out"; refuses 1 "standard input is closed"
call_here perplexity mini -f - <&- >"$work/out"; refuses 1 "standard input is closed"
call_here run mini -p "The" -n 4 <&- >"$work/out"; exits 0; cp "$work/out" "$work/whole"
: >"$work/out"
for command in "run mini -p The -n 4" "run mini -p The --json -n 4" "perplexity mini -f $0" "bench mini -p 4 -n 0 -r 1" devices; do
  call_here $command </dev/null >&-; refuses 1 "standard output is closed"
done
printf '0 5 7' >"$work/some.ids"
call logits mini --ids "$work/some.ids" -o "$work/logits"; exits 0
call_here logits mini --ids "$work/some.ids" -o "$work/closed" <&- >&-; exits 0; same_files "$work/logits" "$work/closed"
called="v4rt logits <&- >&- 2>&-" status=0
"$v4rt" logits mini --ids "$work/some.ids" -o "$work/closed" <&- >&- 2>&- || status=$?
exits 0; same_files "$work/logits" "$work/closed"; rm "$work/logits" "$work/closed"

# What cannot be read is no end of the input.
call_here run mini -n 2 <"$work" >"$work/out"; refuses 1 "standard input" "directory"
call_here chat mini <"$work" >"$work/out"; refuses 1 "standard input" "directory"

# Pipes that do not block: what comes late is waited for, on both sides.
if command -v perl >/dev/null; then
  called="v4rt run, late input" status=0
  { sleep 0.3; printf 'T'; sleep 0.3; printf 'he'; } | unblocked 0 "$v4rt" run mini -n 4 >"$work/out" 2>"$work/err" || status=$?
  exits 0; same_files "$work/out" "$work/whole"
  called="v4rt chat, late input" status=0
  { sleep 0.3; echo 'What is the capital of France?'; } | unblocked 0 "$v4rt" chat mini >"$work/out" 2>"$work/err" || status=$?
  exits 0; out_has "Paris"
  call explain mini --json; cp "$work/out" "$work/whole"
  called="v4rt explain, late reader" status=0
  unblocked 1 "$v4rt" explain mini --json 2>"$work/err" | { sleep 1; cat; } >"$work/out"
  same_files "$work/out" "$work/whole"; check "more than the pipe holds" [ "$(wc -c <"$work/whole")" -gt 10000 ]
else
  echo "perl is not here: pipes that do not block were left out"
fi

# Ctrl-C: what was made is kept, and the exit status tells.
called="v4rt run, interrupted" status=0
: >"$work/out"  # what is in it from now on, the program has written
"$v4rt" run mini -p "The" -n 1000000 --ignore-end --context 1048576 >"$work/out" 2>"$work/err" &
program=$!
for _ in $(seq 300); do [ -s "$work/out" ] && break; sleep 0.1; done
kill -INT $program
wait $program || status=$?
exits 130; err_has "interrupted"; err_has "decode"; check "a completion" [ -s "$work/out" ]

# Whatever ends it in good order, no unfinished file stays.
seq 0 2000 >"$work/some.ids"
for signal in INT:130 TERM:143 HUP:129; do
  called="v4rt logits, ${signal%:*}" status=0
  "$v4rt" logits mini --ids "$work/some.ids" --device reference -o "$work/logits" >"$work/out" 2>"$work/err" &
  program=$!
  for _ in $(seq 300); do ls "$work" | grep -q 'logits.*part' && break; sleep 0.1; done
  kill -"${signal%:*}" $program
  wait $program || status=$?
  refuses "${signal#*:}" "interrupted"
  check "nothing is left behind" [ -z "$(ls "$work" | grep logits)" ]
done
finish
