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

# Line ends stay; a byte order mark at the start of a file is no text.
printf 'def f(x):\r\n' >"$work/crlf.txt"; printf '\xef\xbb\xbfdef f(x):\n' >"$work/marked.txt"
call "${run[@]}" -p $'def f(x):\r\n'; exits 0; cp "$work/ids" "$work/crlf.ids"
call "${run[@]}" -f "$work/crlf.txt"; exits 0; same_files "$work/ids" "$work/crlf.ids"
call "${run[@]}" -f "$work/marked.txt"; exits 0; same_files "$work/ids" "$work/expected"; err_has "marked.txt: the byte order mark"
call_here "${run[@]}" <"$work/marked.txt" >"$work/out"; exits 0; same_files "$work/ids" "$work/expected"; err_has "standard input: the byte order mark"
for file in prompt marked; do call perplexity mini -f "$work/$file.txt"; exits 0; cp "$work/out" "$work/$file.out"; done
same_files "$work/prompt.out" "$work/marked.out"

# "--option=" is an empty value, also of what comes next.
call run mini -p "" --save-ids "$work/ids" -n 4; exits 0; cp "$work/ids" "$work/bare.ids"
call run mini --prompt= --save-ids "$work/ids" -n 4; exits 0; same_files "$work/ids" "$work/bare.ids"
call run --prompt= mini --save-ids "$work/ids" -n 4; exits 0; same_files "$work/ids" "$work/bare.ids"
call run mini -n 4 --save-ids "$work/ids" -p --prompt=; exits 0; cp "$work/ids" "$work/literal.ids"
call_with "--prompt=" run mini -n 4 --save-ids "$work/ids"; exits 0; same_files "$work/ids" "$work/literal.ids"
call_with $'Hello\n' chat mini --system= -n 4; exits 0; check "an answer" [ -s "$work/out" ]
call run mini --file=; refuses 2 "--file" "empty"
call run mini -f "" -p a; refuses 2 "empty"
call run "" -p a; refuses 2 "MODEL" "empty"
call run mini -p a --save-ids ""; refuses 2 "--save-ids" "empty"
call run mini -p a --weight-cache=; refuses 2 "--weight-cache" "empty"
call logits mini --ids "" -o "$work/o"; refuses 2 "--ids" "empty"
call logits mini --ids "$work/prompt.txt" -o ""; refuses 2 "--output" "empty"
call inspect --config ""; refuses 2 "--config" "empty"

ids() { printf "$1" >"$work/some.ids"; call logits mini --ids "$work/some.ids" -o "$work/out.safetensors"; }
ids '0 5\n 7\t9\n'; exits 0; silent; check "a file" [ -s "$work/out.safetensors" ]; rm "$work/out.safetensors"
ids '\xef\xbb\xbf0 5\r\n7 9\r\n'; exits 0; err_has "byte order mark"; rm "$work/out.safetensors"
ids ''; refuses 1 "some.ids" "no token ids"
ids ' \n '; refuses 1 "some.ids" "no token ids"
ids '0 1\n2 x3 4'; refuses 1 "some.ids: line 2, column 3" "x3"
ids '0 1.5'; refuses 1 "line 1, column 3" "1.5"
ids '0 2048'; refuses 1 "line 1, column 3" "2048" "2047"
ids '0\n\n  -1'; refuses 1 "line 3, column 3" "-1"
ids '99999999999999999999'; refuses 1 "99999999999999999999"
call logits mini --ids "$work/none" -o "$work/o"; refuses 1 "$work/none"

: >"$work/empty"; call perplexity mini -f "$work/empty"; refuses 1 "$work/empty" "no text"
call perplexity mini -f "$work/none"; refuses 1 "$work/none"

# Context: too small for the prompt, more than the model was made for, more than memory.
call run mini -p "$(printf 'word %.0s' {1..100})" --context 16; refuses 1 "--context 16"
call run mini -p "word word" --context 16 --ignore-end; exits 0; err_has "context is full"
call run mini -p a -n 2000000; refuses 1 "1048576"
call run mini -p a --context 1000000000000; exits 1; silent; check "a message" [ -s "$work/err" ]
finish
