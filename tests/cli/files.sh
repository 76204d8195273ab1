# Checkpoints that are missing, broken, or told apart.
. "$(dirname "$0")/lib.sh"
run=(run -p a -n 2)

call "${run[@]}" "$work/none"; refuses 1 "$work/none"
call inspect "$work/none"; refuses 1 "$work/none"
mkdir "$work/empty"; call "${run[@]}" "$work/empty"; refuses 1 "$work/empty"
call "${run[@]}" /dev/null; exits 1; silent

copy() { rm -rf "$work/model"; mkdir "$work/model"; cp "$mini"/*.json "$mini"/model.safetensors "$work/model"; }
copy; call "${run[@]}" "$work/model"; exits 0
call "${run[@]}" "$work/model/model.safetensors"; exits 0
copy; truncate -s 3000000 "$work/model/model.safetensors"; call "${run[@]}" "$work/model"; refuses 1 "model.safetensors"
call inspect "$work/model"; refuses 1 "model.safetensors"
copy; truncate -s 5 "$work/model/model.safetensors"; call "${run[@]}" "$work/model"; refuses 1 "model.safetensors"
copy; : >"$work/model/model.safetensors"; call "${run[@]}" "$work/model"; refuses 1 "model.safetensors"
copy; printf '\xff\xff\xff\xff\xff\xff\xff\x7f{}' >"$work/model/model.safetensors"; call "${run[@]}" "$work/model"; refuses 1 "model.safetensors"
copy; rm "$work/model/config.json"; call "${run[@]}" "$work/model"; refuses 1 "config.json"
copy; echo '{"hidden_size": 1' >"$work/model/config.json"; call "${run[@]}" "$work/model"; refuses 1 "config.json"
copy; sed -i 's/"hidden_size": 128/"hidden_size": 256/' "$work/model/config.json"; call "${run[@]}" "$work/model"; exits 1; silent
copy; sed -i 's/"num_hidden_layers": 5/"num_hidden_layers": -5/' "$work/model/config.json"; call "${run[@]}" "$work/model"; refuses 1 "num_hidden_layers"
copy; rm "$work/model/tokenizer.json"; call "${run[@]}" "$work/model"; refuses 1 "tokenizer.json"
printf 0 >"$work/one.ids"; call logits "$work/model" --ids "$work/one.ids" -o "$work/o"; exits 0
copy; echo '[]' >"$work/model/tokenizer.json"; call "${run[@]}" "$work/model"; refuses 1 "tokenizer.json"

call inspect mini; exits 0
out_has "DeepSeek-V4: 5 layers"; out_has "WCHCH"; out_has "2 of 8 routed + 1 shared"; out_has "F8_E4M3"; out_has "1M"; out_has "6.36 M"
call inspect mini --json; exits 0; out_has '"num_layers": 5'; out_has '"file_bytes": 4961030'; out_has '"has_mtp": true'
call inspect --config "$mini/config.json"; exits 0; out_has "DeepSeek-V4: 5 layers"
call inspect --config "$work/none"; refuses 1 "$work/none"
call inspect mini --config "$mini/config.json"; exits 2
finish
