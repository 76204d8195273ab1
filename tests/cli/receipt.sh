# Receipts: made on one device, they hold on the others; what differs is named, with status 1.
. "$(dirname "$0")/lib.sh"

call receipt mini -p 'The capital of' -n 4 -o "$work/a"; exits 0; silent; err_has "$work/a: 8 tokens"
for device in cpu reference; do
  call receipt mini --verify "$work/a" --device $device; exits 0; out_has "equal: the logits after 8 tokens, as made by v4rt"; out_has "on cpu"
done
call receipt mini --verify "$source/tests/data/receipts/v4-mini-text.jsonl"; exits 0; out_has "on reference"
printf '5 6 7' >"$work/some.ids"
call receipt "$source/tests/data/tiny-flash" --ids "$work/some.ids" -n 2 --mtp --numbers plain -o "$work/b"; exits 0
call receipt "$source/tests/data/tiny-flash" --verify "$work/b"; exits 0; out_has "equal: the logits after 5 tokens"

# Other weights, or another computation of the same ones.
call receipt mini --verify "$work/b"; exits 1; out_has "different: position 0 of 5, after token 5: the largest logit is"; out_has "files of weights are others"
sed '4s/"logits":"..../"logits":"0000/' "$work/a" >"$work/changed"
call receipt mini --verify "$work/changed"; exits 1; out_has "different: position 2 of 8"; out_has "the weights are the same"

call receipt mini --verify "$work/none"; refuses 1 "$work/none"
head -c 700 "$work/a" >"$work/cut"; call receipt mini --verify "$work/cut"; refuses 1 "$work/cut: line"
head -n 3 "$work/a" >"$work/cut"; call receipt mini --verify "$work/cut"; refuses 1 "holds 2 tokens of 8"
call receipt mini --verify "$mini/config.json"; refuses 1 "$mini/config.json: line 1"
call receipt mini; refuses 2 "--verify"
call receipt mini -p a; refuses 2 "--output"
call receipt mini -p a --verify "$work/a"; refuses 2 "--verify"
call receipt mini --verify "$work/a" --numbers plain; refuses 2 "--numbers"
call receipt mini -p a -o "$work/c" --fast; refuses 2 "--fast"
call receipt mini --ids "$work/some.ids" -o "$work/some.ids"; refuses 1 "input"
check "nothing is left behind" [ -z "$(find "$work" -name '*part')" -a ! -e "$work/c" ]
finish
