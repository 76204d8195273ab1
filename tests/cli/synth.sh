# Synthetic checkpoints: the smallest of true width, and what is refused.
. "$(dirname "$0")/lib.sh"
new=$work/not/there/new
synth=(synth flash -o "$new")

call synth; refuses 2 "RELEASE"
call synth flash; refuses 2 "--output"
call synth large -o "$new"; refuses 2 "large" "flash" "pro"
call "${synth[@]}" --layers 0; refuses 2 "--layers"
call "${synth[@]}" --layers 44; refuses 2 "--layers 44" "43" "--ratios"
call "${synth[@]}" --experts 5; refuses 2 "--experts"
call "${synth[@]}" --vocab 1; refuses 2 "--vocab"
call "${synth[@]}" --ratios 0,3; refuses 2 "--ratios"
call "${synth[@]}" --ratios 0,4 --layers 3; refuses 2 "--ratios" "--layers 3"
call "${synth[@]}" --seed -1; refuses 2 "--seed"
check "nothing is made" [ ! -e "$new" ]

: >"$work/file"
call synth flash -o "$work/file"; refuses 1 "$work/file" "not a folder"
call synth flash -o "$work/file/of"; refuses 1 "$work/file/of" "cannot be made" "another folder"
call synth flash -o "$mini"; refuses 1 "$mini" "config.json" "another folder" "--force"

# One layer, six experts: 200 MB.
call "${synth[@]}" --layers 1 --experts 6 --vocab 16 --seed 3; exits 0; silent; err_has "1 shard"; err_has "MB/s"
check "the files of a checkpoint" [ "$(ls -x "$new" | xargs)" = "config.json model-00001-of-00001.safetensors model.safetensors.index.json" ]
call inspect "$new"; exits 0
out_has "1 layers, hidden size 4096 in 4 streams, vocabulary 16"; out_has "1 shard with index; official names"
out_has "6 of 6 routed + 1 shared, width 2048; 1 hash-routed layer"
printf '0 1 2 15' >"$work/some.ids"
call logits "$new" --ids "$work/some.ids" --context 64 -o "$work/logits.safetensors"; exits 0
check "logits of 4 tokens" [ "$(stat -c %s "$work/logits.safetensors")" -gt 256 ]
call "${synth[@]}"; refuses 1 "$new" "another folder" "--force"
rm -r "$new"

# Ctrl-C: nothing is left behind, nor what was made on the way.
rm -r "$work/not"
called="v4rt synth, interrupted" status=0
"$v4rt" synth flash -o "$new" --layers 3 >"$work/out" 2>"$work/err" &
program=$!
for _ in $(seq 300); do [ -n "$(ls "$new" 2>/dev/null)" ] && break; sleep 0.1; done
kill -INT $program
wait $program || status=$?
refuses 130 "interrupted"
check "nothing is left behind" [ ! -e "$work/not" ]
finish
