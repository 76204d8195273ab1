# How the next token is chosen, and what ends a text.
. "$(dirname "$0")/lib.sh"
prompt=(run mini -p $'def factorial(n):\n    ' -n 24 --ignore-end --save-ids "$work/ids")
ids() { tr '\n' ' ' <"$work/ids"; }
call "${prompt[@]}"; exits 0; cp "$work/out" "$work/text"; cp "$work/ids" "$work/greedy"
differs() { exits 0; check "another text" [ "$(ids)" != "$(tr '\n' ' ' <"$work/greedy")" ]; }
same() { exits 0; same_files "$work/ids" "$work/greedy"; }

# Values out of range are told with the range; those at the edge are taken.
for bad in --top-k=-1 --top-k=1.5 --min-p=1.1 --min-p=nan --repetition-penalty=0 --presence-penalty=2.1 --frequency-penalty=-3; do
  call run mini -p a "$bad"; refuses 2 "${bad%%=*}" "'${bad#*=}'" "from"
done
for bad in 5 =1 5= 5=x x=1 5=101 5=nan -1=0 2048=1 5=1x; do
  call run mini -p a --logit-bias "$bad"; refuses 2 "--logit-bias $bad" "ID=BIAS" "0 to 2047" "-100 to 100"
done
call chat mini --logit-bias 2048=1; refuses 2 "--logit-bias 2048=1"
call run mini -p a --stop ""; refuses 2 "--stop" "empty"
call run mini -p a --logprobs 2; refuses 2 "--json"
call run mini -p a --json --logprobs 21; refuses 2 "--logprobs" "'21'" "from 0 to 20"

# Each option does something, and nothing at its default; the filters have nothing to filter at temperature 0.
call "${prompt[@]}" --top-k 0 --min-p 0 --top-p 1 --repetition-penalty 1 --presence-penalty 0 --frequency-penalty 0; same
call "${prompt[@]}" --top-k 3 --min-p 0.5 --top-p 0.5 --seed 9; same
call "${prompt[@]}" --temperature 2 --top-k 1; same
call "${prompt[@]}" --temperature 2 --min-p 1; same
call "${prompt[@]}" --temperature 2 --seed 5; differs; cp "$work/ids" "$work/drawn"
call "${prompt[@]}" --temperature 2 --seed 5; exits 0; same_files "$work/ids" "$work/drawn"
call "${prompt[@]}" --temperature 2 --seed 6; exits 0; check "another draw" [ "$(ids)" != "$(tr '\n' ' ' <"$work/drawn")" ]
for option in --repetition-penalty=5 --presence-penalty=2 --frequency-penalty=2; do call "${prompt[@]}" $option; differs; done
first=$(head -n 1 "$work/greedy")
call "${prompt[@]}" --logit-bias "$first=-100"; differs; check "never token $first" [ -z "$(grep -x "$first" "$work/ids")" ]
call "${prompt[@]}" --logit-bias 77=100; exits 0; check "only token 77" [ "$(sort -u "$work/ids")" = 77 ]

# A stop string ends the text before it, in the middle of a token and across several; the ids have the tokens it came in.
stops() { # AT: the string that is cut out of the greedy text at this place
  local text stop
  text=$(cat "$work/text"; echo .) stop=${text:$1:7}
  call "${prompt[@]}" --stop "$stop"; exits 0; err_has "stopped at a stop string"; out_is "${text%%"$stop"*}"
  check "fewer tokens" [ "$(wc -l <"$work/ids")" -le 24 ]
}
for at in 0 5 11 18; do stops $at; done
call "${prompt[@]}" --stop 'never there' --stop 'nor this'; same; same_files "$work/out" "$work/text"
call "${prompt[@]}" --stop 'debug' --json; exits 0
check "the reason" [ "$("$json_value" "$work/out" /stop)" = stop_string ]
call_with $'What is the capital of France?\nWhat is the capital of Japan?\n' chat mini --stop ' of'; exits 0
out_is $'The capital\nThe capital\n'
call_with $'What is the capital of France?\n' chat mini --thinking on --stop 'Paris'; exits 0
check "no more than what was before it" [ -z "$(grep -F Paris "$work/out")" ]

# In a conversation the penalties see what one prompt with all of it would show them: answers, and no old reasoning.
first=$'Repeat after me: tiger' second=$'Repeat after me: garden violin'
penalties=(--numbers plain --repetition-penalty 1.2 --presence-penalty 0.5 --frequency-penalty 0.3)
for thinking in off on; do
  call_with "$first"$'\n'"$second"$'\n' chat mini --thinking $thinking -n 40 "${penalties[@]}"; exits 0
  sed -n 1p "$work/out" >"$work/answer"; sed -n 2p "$work/out" >"$work/second"
  [ $thinking = on ] && mark='<think>' || mark='</think>'
  call run mini -n 40 "${penalties[@]}" \
    -p "<｜User｜>$first<｜Assistant｜></think>$(cat "$work/answer")<｜end▁of▁sentence｜><｜User｜>$second<｜Assistant｜>$mark"
  exits 0; check "the same answer" [ "$(sed 's/.*<\/think>//' "$work/out" | tail -n 1)" = "$(cat "$work/second")" ]
done

# Log-probabilities: of each token, beside the likeliest; at temperature 0 the chosen one is the first of these.
call "${prompt[@]}" --json --logprobs 3; exits 0
value() { "$json_value" "$work/out" "$1"; }
check "one entry a token" [ "$(value /logprobs/23/id)" = "$(tail -n 1 "$work/greedy")" ]
check "the likeliest" [ "$(value /logprobs/4/id) $(value /logprobs/4/logprob)" = "$(value /logprobs/4/top/0/id) $(value /logprobs/4/top/0/logprob)" ]
check "three of them" [ -n "$(value /logprobs/4/top/2/token)" -a -z "$(value /logprobs/4/top/3/token 2>/dev/null)" ]
call "${prompt[@]}" --json; exits 0; check "none without the option" [ -z "$(grep -F logprobs "$work/out")" ]

# Seed and options decide the tokens, on every device.
sampled=(--temperature 1.3 --top-k 40 --top-p 0.95 --min-p 0.01 --repetition-penalty 1.1 --presence-penalty 0.3 --frequency-penalty 0.2
  --logit-bias 15=1 --seed 42)
call "${prompt[@]}" "${sampled[@]}"; differs; cp "$work/ids" "$work/sampled"
for other in reference opencl; do
  "$v4rt" devices | grep -q "$other" || continue
  call "${prompt[@]}" "${sampled[@]}" --device $other; exits 0; same_files "$work/ids" "$work/sampled"
done

# A file of prompts has the same options, the command line's for all and the lines' own.
cat >"$work/lines" <<'END'
{"prompt": "def factorial(n):\n    ", "temperature": 1.3, "top_k": 40, "top_p": 0.95, "min_p": 0.01, "repetition_penalty": 1.1,
END
tr -d '\n' <"$work/lines" >"$work/prompts"
echo ' "presence_penalty": 0.3, "frequency_penalty": 0.2, "seed": 42}' >>"$work/prompts"
many=(run mini -f "$work/prompts" --parallel 2 -n 24 --ignore-end)
call "${many[@]}" --logit-bias 15=1; exits 0
check "the same tokens" [ "$("$json_value" "$work/out" /ids)" = "$(tr '\n' ' ' <"$work/sampled")" ]
echo '"def factorial(n):\n    "' >"$work/prompts"
call "${many[@]}" --stop debug; exits 0
check "the text before it" [ "$("$json_value" "$work/out" /stop /text; echo .)" = "stop_string
$(sed 's/debug.*//;q' "$work/text")
." ]
for bad in '"top_k": 4294967297' '"top_k": 0.5' '"seed": -1' '"min_p": 2' '"presence_penalty": "1"'; do
  echo "{\"prompt\": \"a\", $bad}" >"$work/prompts"
  call "${many[@]}"; refuses 1 "prompts, line 1" "${bad%%:*}"
done
finish
