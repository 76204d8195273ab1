# Weights kept on disk as the cpu device wants them: the same results, clear refusals, any number of processes.
. "$(dirname "$0")/lib.sh"

seq 3 41 | awk '{print ($1 * 7919) % 2048}' >"$work/some.ids"
logits() { call logits "$1" --ids "$work/some.ids" --mtp -o "$work/$2" "${@:3}"; }
files() { find "$work/kept" -name "*$1" | wc -l; }

mkdir "$work/model" "$work/kept"; cp "$mini"/*.json "$mini"/model.safetensors "$work/model"
logits "$work/model" without; exits 0
for run in written mapped; do
  logits "$work/model" $run --weight-cache "$work/kept"; exits 0; same_files "$work/without" "$work/$run"
  check "one file" [ "$(files .weights)" = 1 ]
  [ $run = written ] && cp "$work"/kept/*.weights "$work/first"
done
same_files "$work"/kept/*.weights "$work/first"

# Every command that opens a model takes it.
cache=(--weight-cache "$work/kept")
call run "$work/model" -p 'def f' -n 4 "${cache[@]}"; exits 0; cp "$work/out" "$work/cached.txt"
call run "$work/model" -p 'def f' -n 4; exits 0; same_files "$work/out" "$work/cached.txt"
call_with $'hello\n' chat "$work/model" -n 4 "${cache[@]}"; exits 0
head -c 200 "$mini/golden/perplexity.txt" >"$work/text"
call perplexity "$work/model" -f "$work/text" "${cache[@]}"; exits 0
call explain "$work/model" "${cache[@]}"; exits 0
call bench "$work/model" -p 8 -n 2 -r 1 "${cache[@]}"; exits 0

# What is damaged, or was made of another checkpoint, is told of and written anew.
truncate -s 100000 "$work"/kept/*.weights
logits "$work/model" damaged "${cache[@]}"; exits 0; err_has "weight cache: "; err_has "should have"; same_files "$work/without" "$work/damaged"
same_files "$work"/kept/*.weights "$work/first"
touch "$work/model/model.safetensors"
logits "$work/model" touched "${cache[@]}"; exits 0; err_has "made from another checkpoint"; same_files "$work/without" "$work/touched"
logits "$work/model" again "${cache[@]}"; exits 0; check "no complaint" [ "$(grep -c 'weight cache' "$work/err")" = 0 ]

# Other values under the same name, of the same size, with the time set back: another checkpoint.
cp "$work/model/model.safetensors" "$work/first.safetensors"
printf '\x21' | dd of="$work/model/model.safetensors" bs=1 seek=$(($(stat -c %s "$work/first.safetensors") - 2)) conv=notrunc status=none
touch -r "$work/first.safetensors" "$work/model/model.safetensors"
logits "$work/model" other.without; exits 0; check "other logits" [ "$(cksum <"$work/without")" != "$(cksum <"$work/other.without")" ]
logits "$work/model" other "${cache[@]}"; exits 0; same_files "$work/other.without" "$work/other"
cp "$work/first.safetensors" "$work/model/model.safetensors"
logits "$work/model" again "${cache[@]}"; exits 0; same_files "$work/without" "$work/again"

# Every byte of the weights is under a checksum.
call verify "$work/kept"; exits 0; out_has ".weights: "; out_has "as they were written"
kept=$(ls "$work"/kept/*.weights)
cp "$kept" "$work/whole.weights"
printf '\x21' | dd of="$kept" bs=1 seek=$(($(stat -c %s "$kept") - 2)) conv=notrunc status=none
call verify "$kept"; refuses 1 "$kept: " "does not match its checksum"
call verify "$work/whole.weights" "$kept"; exits 1; out_has "$work/whole.weights: "; err_has "$kept: "
logits "$work/model" damaged "${cache[@]}"; exits 0; err_has "does not match its checksum"; same_files "$work/without" "$work/damaged"
call verify "$kept"; exits 0
call verify "$work/model"; refuses 1 "$work/model: " "no weight cache"
call verify "$work/model/config.json"; refuses 1 "is no file of weights"
call verify "$work/none"; refuses 1 "$work/none: "

# Many at once, without a file: one writes.
rm "$work"/kept/*
for i in 1 2 3 4; do
  "$v4rt" logits "$work/model" --ids "$work/some.ids" --mtp -o "$work/at-once.$i" "${cache[@]}" 2>"$work/at-once.$i.err" &
done
wait
for i in 1 2 3 4; do same_files "$work/without" "$work/at-once.$i"; done
check "one file" [ "$(files .weights)" = 1 ]
check "nothing unfinished" [ "$(files .part)" = 0 ]

# One that is ended while it writes leaves nothing that looks whole.
rm "$work"/kept/*
"$v4rt" synth flash -o "$work/large" --layers 1 --experts 6 --vocab 256 2>/dev/null
seq 1 4 >"$work/few.ids"
for delay in 0.05 0.2 0.5; do
  timeout -s KILL $delay "$v4rt" logits "$work/large" --ids "$work/few.ids" -o "$work/killed" "${cache[@]}" >/dev/null 2>&1
done
call logits "$work/large" --ids "$work/few.ids" -o "$work/large.without"; exits 0
call logits "$work/large" --ids "$work/few.ids" -o "$work/large.cached" "${cache[@]}"; exits 0; same_files "$work/large.without" "$work/large.cached"
call logits "$work/large" --ids "$work/few.ids" -o "$work/large.cached" "${cache[@]}"; exits 0; same_files "$work/large.without" "$work/large.cached"
check "nothing unfinished" [ "$(files .part)" = 0 ]

call run "$work/model" -p 'def f' -n 4 --weight-cache "$work/not/yet/there"; exits 0; same_files "$work/out" "$work/cached.txt"
check "the folder was made" [ -n "$(find "$work/not/yet/there" -name '*.weights')" ]
call run "$work/model" -p a --weight-cache "$work/model/config.json"; refuses 1 "config.json: is not a folder"
call run "$work/model" -p a --weight-cache /proc; refuses 1 "/proc/" "cannot be written"
call run --help; exits 0; out_has "--weight-cache"
finish
