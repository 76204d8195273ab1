# What a checkpoint says about generating: several end tokens, and how to sample.
. "$(dirname "$0")/lib.sh"
model=$work/model
mkdir "$model"; cp "$mini"/*.json "$mini"/model.safetensors "$model"
prompt=(run "$model" -p $'def factorial(n):\n    ' -n 12 --save-ids "$work/ids")

call "${prompt[@]}"; exits 0; cp "$work/ids" "$work/whole"
end=$(sed -n 6p "$work/whole")  # made an end token: what comes before it is what is left
before=$(sed "/^$end\$/,\$d" "$work/whole")
ends() { exits 0; err_has "end token"; check "the text before token $end" [ "$(cat "$work/ids")" = "$before" ]; }
cp "$model/config.json" "$work/config.json"
sed -i "s/\"eos_token_id\": 1/\"eos_token_id\": [1, $end]/" "$model/config.json"
call "${prompt[@]}"; ends
call "${prompt[@]}" --ignore-end; exits 0; same_files "$work/ids" "$work/whole"
cp "$work/config.json" "$model/config.json"
echo "{\"eos_token_id\": [$end, 1], \"temperature\": 1.5, \"top_p\": 0.9, \"top_k\": 20, \"typical_p\": 0.2}" >"$model/generation_config.json"
call "${prompt[@]}"; ends
call inspect "$model"; exits 0; out_has "1, $end"; out_has "temperature 1.5, top-p 0.9, top-k 20; not applied: typical_p = 0.2"
call inspect "$model" --json; exits 0
check "the same as JSON" [ "$("$json_value" "$work/out" /end_tokens /recommended_sampling/top_p /recommended_sampling/top_k)" = "1 $end "$'\n0.9\n20' ]

# An answer of a conversation ends there too.
call_with $'What is the capital of France?\n' chat "$model"; exits 0; cp "$work/out" "$work/answer"
echo '{"eos_token_id": '"$(seq -s, 3 2047 | sed 's/.*/[&]/')"'}' >"$model/generation_config.json"
call_with $'What is the capital of France?\n' chat "$model"; exits 0; check "nothing but the line's end" [ "$(cat "$work/out")" = "" ]
check "there was an answer" [ "$(wc -c <"$work/answer")" -gt 1 ]

# The recommended numbers are taken when asked for, and those of the command line go first.
sampled=("${prompt[@]}" --ignore-end --seed 3)
echo '{"temperature": 1.5, "top_p": 0.9, "top_k": 20, "min_p": 0.01, "repetition_penalty": 1.1, "typical_p": 0.2}' >"$model/generation_config.json"
call "${sampled[@]}"; exits 0; same_files "$work/ids" "$work/whole"
call "${sampled[@]}" --temperature 1.5 --top-p 0.9 --top-k 20 --min-p 0.01 --repetition-penalty 1.1; exits 0; cp "$work/ids" "$work/chosen"
call "${sampled[@]}" --recommended-sampling; exits 0; same_files "$work/ids" "$work/chosen"
err_has "temperature 1.5, top-k 20, top-p 0.9, min-p 0.01, repetition penalty 1.1"; err_has "not applied: typical_p = 0.2"
check "another text" [ "$(cat "$work/chosen")" != "$(cat "$work/whole")" ]
call "${sampled[@]}" --recommended-sampling --temperature 0 --repetition-penalty 1; exits 0; same_files "$work/ids" "$work/whole"
call_with $'Hello\n' chat "$model" -n 4 --recommended-sampling; exits 0; err_has "temperature 1.5"
echo '{"top_p": 2}' >"$model/generation_config.json"; call "${prompt[@]}"; refuses 1 "generation_config.json" "'top_p' is 2"
rm "$model/generation_config.json"
call "${sampled[@]}"; exits 0
call "${sampled[@]}" --recommended-sampling; refuses 1 "generation_config.json" "--temperature"
call inspect "$model"; exits 0; out_has "no generation_config.json"
finish
