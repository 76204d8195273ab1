# Several sequences at once, and beginnings that are kept.
. "$(dirname "$0")/lib.sh"

# Each line of a file gets what it gets alone, whatever shares its steps.
cat >"$work/lines" <<'LINES'
{"prompt": "def factorial(n):\n", "id": "a", "max_tokens": 9}
"The capital of"

{"prompt": "import os\n", "id": [7], "temperature": 0.8, "top_p": 0.9, "seed": 3}
{"prompt": "x", "max_tokens": 1}
LINES
alone() { # LINE ARGUMENTS...: the same prompt by itself
  local line=$1
  shift
  call run mini --json "$@"; exits 0
  printf '%s %s\n' "$line" "$("$json_value" "$work/out" /ids /stop | tr '\n' ' ')" >>"$work/expected"
}
alone 1 -p $'def factorial(n):\n' -n 9
alone 2 -p "The capital of" -n 6
alone 4 -p $'import os\n' --temperature 0.8 --top-p 0.9 --seed 3 -n 6
alone 5 -p x -n 1
answers() {
  while read -r answer; do
    printf '%s' "$answer" >"$work/answer"
    printf '%s %s\n' "$("$json_value" "$work/answer" /line)" "$("$json_value" "$work/answer" /ids /stop | tr '\n' ' ')"
  done <"$work/out" | sort
}
for parallel in 1 3 8; do
  call run mini -f "$work/lines" --parallel $parallel -n 6; exits 0
  check "$parallel at once: the answers of each alone" [ "$(answers)" = "$(cat "$work/expected")" ]
  out_has '"line":4,"id":[7]'
  err_has "4 lines, 0 failed"
done
call_with '"from standard input"' run mini -f - --parallel 2 -n 2; exits 0; out_has '"line":1'

bad() { printf '%s\n' "$1" >"$work/bad"; call run mini -f "$work/bad" --parallel 2; shift; refuses 1 "line 1" "$@"; harmless; }
bad '{"prompt": 3}' 'neither a JSON string'
bad '[]' 'neither a JSON string'
bad '{"prompt": "a", "colour": 1}' 'there is no option "colour"'
bad '{"prompt": "a", "max_tokens": 0}' '"max_tokens" is 0: from 1'
bad '{"prompt": "a", "max_tokens": 1.5}' '"max_tokens" is not a whole number'
bad '{"prompt": "a", "temperature": -1}' '"temperature" is -1'
bad '{"prompt": "a"' 'JSON'
call_with '' run mini -f - --parallel 2; refuses 1 "no lines"
call run mini -p a --parallel 2; refuses 2 "--parallel"
call run mini -f "$work/lines" --parallel 2 --json; refuses 2 "--json"

# Guessing ahead changes no token, greedy or drawn, alone or among others.
for draw in "" "--temperature 0.9 --seed 5"; do
  call run mini -p $'def factorial(n):\n' -n 40 --ignore-end --json $draw; exits 0
  ids=$("$json_value" "$work/out" /ids)
  for draft in 1 3; do
    call run mini -p $'def factorial(n):\n' -n 40 --ignore-end --json $draw --draft $draft; exits 0
    check "the same text" [ "$("$json_value" "$work/out" /ids)" = "$ids" ]
    check "there were guesses" [ "$("$json_value" "$work/out" /drafted)" -gt 0 ]
  done
done
call run mini -f "$work/lines" --parallel 3 -n 6 --draft 2; exits 0
check "with guesses: the answers of each alone" [ "$(answers)" = "$(cat "$work/expected")" ]
call run mini -p a -n 30 --ignore-end --draft 1; exits 0; err_has "of them right"
call run mini -p a --draft 5; refuses 2 "--draft"

# A prompt that was read is not read again; nor is its beginning, by other processes too.
text=$(head -c 4000 "$source/README.md")
cached() { "$json_value" "$work/out" /cached_tokens; }
call run mini -p "$text" -n 8 --json; exits 0
ids=$("$json_value" "$work/out" /ids) tokens=$("$json_value" "$work/out" /prompt_tokens)
keep=(--prefix-cache "$work/kept" -n 8 --json)
call run mini -p "$text" "${keep[@]}"; exits 0; check "nothing is kept yet" [ "$(cached)" = 0 ]
call run mini -p "$text" "${keep[@]}"; exits 0
check "all but its last token was kept" [ "$(cached)" = $((tokens - 1)) ]
check "the same answer" [ "$("$json_value" "$work/out" /ids)" = "$ids" ]
call run mini -p "$text and more" "${keep[@]}"; exits 0
check "its beginning was kept" [ "$(cached)" -ge $((tokens - 2)) ]
call run mini --numbers plain -p "$text" "${keep[@]}"; exits 0; check "for these numbers alone" [ "$(cached)" = 0 ]
for file in "$work/kept"/*.kv; do printf x | dd of="$file" bs=1 seek=100 conv=notrunc status=none; done
call run mini -p "$text" "${keep[@]}"; exits 0
check "what is damaged is not used" [ "$(cached)" = 0 ]
err_has "damaged"
check "the same answer" [ "$("$json_value" "$work/out" /ids)" = "$ids" ]
call run mini -p "$text" -n 1 --prefix-cache "$source/README.md"; refuses 1 "README.md"
call run mini -p "$text" -n 1 --prefix-cache-size 1MiB; refuses 2 "--prefix-cache"
finish
