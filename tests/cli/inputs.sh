# Prompts, id files and texts: where they come from, and what is refused.
. "$(dirname "$0")/lib.sh"
run=(run mini -n 8 --save-ids "$work/ids")

printf 'def f(x):\n' >"$work/prompt.txt"
call "${run[@]}" -p $'def f(x):\n'; exits 0; cp "$work/ids" "$work/expected"
call "${run[@]}" -f "$work/prompt.txt"; exits 0; same_files "$work/ids" "$work/expected"
call_with $'def f(x):\n' "${run[@]}"; exits 0; same_files "$work/ids" "$work/expected"
call_with $'def f(x):\n' "${run[@]}" -f -; exits 0; same_files "$work/ids" "$work/expected"
call "${run[@]}" -p $'<｜begin▁of▁sentence｜>def f(x):\n'; exits 0; same_files "$work/ids" "$work/expected"

# An empty prompt is BOS alone; bytes that are no UTF-8, and zero bytes, are text like any other.
call "${run[@]}" -p ""; exits 0
call "${run[@]}"; exits 0
printf 'a\xff\xfe\0b' >"$work/bytes"; call "${run[@]}" -f "$work/bytes"; exits 0

call "${run[@]}" -f "$work/none"; refuses 1 "$work/none" "No such file"
call "${run[@]}" -f "$work"; refuses 1 "$work" "directory"
call run mini -p a -n 8 --save-ids "$work/none/ids"; exits 1; err_has "$work/none/ids"

ids() { printf "$1" >"$work/some.ids"; call logits mini --ids "$work/some.ids" -o "$work/out.safetensors"; }
ids '0 5\n 7\t9\n'; exits 0; silent; check "a file" [ -s "$work/out.safetensors" ]; rm "$work/out.safetensors"
ids ''; refuses 1 "some.ids" "no token ids"
ids ' \n '; refuses 1 "some.ids" "no token ids"
ids '0 1\n2 x3 4'; refuses 1 "some.ids: line 2, column 3" "x3"
ids '0 1.5'; refuses 1 "line 1, column 3" "1.5"
ids '0 2048'; refuses 1 "line 1, column 3" "2048" "2047"
ids '0\n\n  -1'; refuses 1 "line 3, column 3" "-1"
ids '99999999999999999999'; refuses 1 "99999999999999999999"
call logits mini --ids "$work/none" -o "$work/o"; refuses 1 "$work/none"
printf 0 >"$work/one.ids"
call logits mini --ids "$work/one.ids" -o "$work/none/o"; refuses 1 "$work/none/o"
call logits mini --ids "$work/one.ids" -o "$work"; refuses 1 "$work"
check "nothing is left behind" [ -z "$(ls "$work" | grep part)" ]

: >"$work/empty"; call perplexity mini -f "$work/empty"; refuses 1 "$work/empty" "no text"
call perplexity mini -f "$work/none"; refuses 1 "$work/none"

# Context: too small for the prompt, more than the model was made for, more than memory.
call run mini -p "$(printf 'word %.0s' {1..100})" --context 16; refuses 1 "--context 16"
call run mini -p "word word" --context 16 --ignore-end; exits 0; err_has "context is full"
call run mini -p a -n 2000000; refuses 1 "1048576"
call run mini -p a --context 1000000000000; exits 1; silent; check "a message" [ -s "$work/err" ]
finish
