# Files that are written: opened before the work begins, complete or not there, and never one of the inputs.
. "$(dirname "$0")/lib.sh"
printf '0 5 7 9' >"$work/some.ids"
printf 'The' >"$work/prompt.txt"
nothing_left() { check "nothing is left behind" [ -z "$(find "$work" -name '*part')" ]; }

# A folder that is not there, a folder for a file, a disk that is full: told of before the first token.
call run mini -p a -n 8 --save-ids "$work/none/ids"; refuses 1 "$work/none/ids" "No such file"
call run mini -p a -n 8 --json --save-ids "$work/none/ids"; refuses 1 "$work/none/ids"
call run mini -p a -n 8 --save-ids "$work"; refuses 1 "$work" "directory"
call logits mini --ids "$work/some.ids" -o "$work/none/o"; refuses 1 "$work/none/o"
call logits mini --ids "$work/some.ids" -o "$work"; refuses 1 "$work"
call logits mini --ids "$work/some.ids" -o /dev/null; refuses 1 "/dev/null" "regular"
limited() { (ulimit -f 1; call "$@"; echo "$status" >"$work/status") 2>/dev/null; called="v4rt $* (files of 1 KiB)" status=$(cat "$work/status"); }
limited logits mini --ids "$work/some.ids" -o "$work/o"; refuses 1 "$work/o" "too large"
limited run mini -p a -n 1000 --save-ids "$work/ids"; exits 1; err_has "$work/ids"; err_has "too large"
fallocate -l 1 "$work/room" 2>/dev/null && silent  # where room can be reserved
nothing_left; check "no file" [ ! -e "$work/o" -a ! -e "$work/ids" ]

# A file that is there is replaced once the new one is complete; a link stays a link; a pipe is written to.
call run mini -p The -n 4 --save-ids "$work/ids"; exits 0; cp "$work/ids" "$work/expected"
echo old >"$work/kept"; ln -s kept "$work/link"
call run mini -p The -n 4 --save-ids "$work/link"; exits 0
same_files "$work/kept" "$work/expected"; check "a link" [ -L "$work/link" ]
mkfifo "$work/pipe"; cat "$work/pipe" >"$work/read" & reader=$!
call run mini -p The -n 4 --save-ids "$work/pipe"; exits 0; wait $reader; same_files "$work/read" "$work/expected"
call run mini -p The -n 4 --json --save-ids /dev/full; exits 1; err_has "/dev/full"; out_has '"text"'
nothing_left

# Inputs are not written, under whatever name.
mkdir "$work/model"; cp "$mini"/*.json "$mini"/model.safetensors "$work/model"
ln -s model/model.safetensors "$work/weights.link"; ln "$work/model/model.safetensors" "$work/weights"
for output in model/model.safetensors model/config.json model/tokenizer.json weights weights.link some.ids; do
  call logits "$work/model" --ids "$work/some.ids" -o "$work/$output"; refuses 1 "$work/$output" "input"
done
call_here logits mini --ids - -o "$work/some.ids" <"$work/some.ids" >"$work/out"; refuses 1 "some.ids" "standard input"
call run "$work/model" -p a -n 2 --save-ids "$work/model/generation_config.json"; refuses 1 "generation_config.json" "input"
call run mini -f "$work/prompt.txt" -n 2 --save-ids "$work/prompt.txt"; refuses 1 "prompt.txt" "input"
call_here run mini -n 2 --save-ids "$work/prompt.txt" <"$work/prompt.txt" >"$work/out"; refuses 1 "prompt.txt" "standard input"
call run mini -p a -n 2 --save-ids "$work/out"; refuses 1 "$work/out" "standard output"
call run mini -p a -n 2 --save-ids "$work/err"; exits 1; silent; err_has "standard error"
mkdir "$work/cache"; call logits "$work/model" --ids "$work/some.ids" -o "$work/o" --weight-cache "$work/cache"; exits 0
weights=$(ls "$work"/cache/*.weights)
call logits "$work/model" --ids "$work/some.ids" -o "$weights" --weight-cache "$work/cache"; refuses 1 "$weights" "input"
for file in model.safetensors config.json tokenizer.json generation_config.json; do same_files "$mini/$file" "$work/model/$file"; done
check "the prompt and the ids" [ "$(cat "$work/prompt.txt" "$work/some.ids")" = "The0 5 7 9" ]
nothing_left
finish
