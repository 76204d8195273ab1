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
call inspect mini --against v3.2; exits 0; out_has "V3.2's"
call inspect --config "$mini/config.json" --against v3.2 --json; exits 0
check "V3.2's cache at 1M, the release's own figure" [ "$("$json_value" "$work/out" /against/contexts/2/kv_cache_bytes)" = 50402951168.0 ]
call inspect mini --against v3; refuses 2 "--against"
call inspect --config "$work/none"; refuses 1 "$work/none"
call inspect mini --config "$mini/config.json"; exits 2
call inspect --config "$mini/config.json"; cp "$work/out" "$work/inspected"
call inspect --config <(cat "$mini/config.json"); exits 0; same_files "$work/out" "$work/inspected"
call_here inspect --config - <"$mini/config.json" >"$work/out"; exits 0; same_files "$work/out" "$work/inspected"
call inspect --config <(echo '{'); exits 1; silent; check "a message" grep -q "not valid JSON" "$work/err"

# Names that are no UTF-8 are names; JSON shows them as far as it can.
odd="$work/od"$'\xff'd; copy; mv "$work/model" "$odd"
call bench "$odd" -p 4 -n 1 -r 1 --json; exits 0; check "the model" [ "$("$json_value" "$work/out" /model)" = "$work/od"$'\xef\xbf\xbd'd ]
call run "$odd" -p a -n 2 --json; exits 0; check "a completion" "$json_value" "$work/out" /ids
call inspect "$odd" --json; exits 0
rm -r "$odd"

# What may not be read is told from what is not there. Root may read everything.
as_user() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; else "$@"; fi; }
if as_user true 2>/dev/null; then
  mkdir -p "$work/installed/bin" "$work/installed/share/v4rt/models"
  cp "$v4rt" "$work/installed/bin/v4rt"; cp -r "$mini" "$work/installed/share/v4rt/models"; copy
  chmod 755 "$work"; chmod -R a+rX "$work/installed" "$work/model"
  call_user() { called="$* (as a user)" status=0; as_user "$work/installed/bin/v4rt" "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?; }
  call_user inspect mini; exits 0
  chmod 0 "$work/installed/share/v4rt/models/v4-mini"; call_user run mini -p a; refuses 1 "v4-mini" "Permission denied"
  chmod 755 "$work/installed/share/v4rt/models/v4-mini"
  chmod 0 "$work/model/tokenizer.json"; call_user run "$work/model" -p a; refuses 1 "tokenizer.json" "Permission denied"
  for mode in 0 a=r; do chmod $mode "$work/model"; call_user run "$work/model" -p a; refuses 1 "$work/model" "Permission denied"; done
  chmod 755 "$work/model"
else
  echo "no other user can be taken: permissions were left out"
fi
finish
