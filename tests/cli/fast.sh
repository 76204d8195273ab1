# --fast: what is chosen, what is said about it, what is kept.
. "$(dirname "$0")/lib.sh"
export XDG_CACHE_HOME=$work/kept
libraries=$("$v4rt" --version | sed -n 's/^libraries *//p')
call explain mini --tokens 64; exits 0; check "nothing is chosen unless asked for" [ -z "$(grep choices "$work/out")" ]
check "nothing is kept unless measured" [ ! -e "$work/kept/v4rt" ]
call run mini -p a --fast=never; refuses 2 "--fast" "auto"
if [[ $libraries != *Eigen* ]]; then
  echo "this build has no Eigen: left out"
  finish
fi
call explain mini --tokens 64 --fast=always; exits 0; out_has "cpu.linear.eigen"; out_has "cpu.moe_down.eigen"
out_has "Eigen 3"; out_has "linear bf16 [512, 128] x fp8/rows16 [512, 128]: as asked"
check "nothing is measured when always" [ ! -e "$work/kept/v4rt" ]
call explain mini --tokens 64 --fast; exits 0; out_has "choices"; out_has "linear bf16 [512, 128] x fp8/rows16 [512, 128]: "; out_has " times as long"
cp "$work/out" "$work/first"
call explain mini --tokens 64 --fast; exits 0; same_files "$work/out" "$work/first"
call explain mini --tokens 64 --fast --json; exits 0; out_has '"why": "'
files=("$work"/kept/v4rt/*.times)
check "a file for each shape" [ "${#files[@]}" -ge 10 ]
printf damaged >"${files[0]}"
call explain mini --tokens 64 --fast; exits 0; err_has "kept times"; err_has "measured again"
call explain mini --tokens 64 --fast; exits 0; check "no notice of what is whole" [ ! -s "$work/err" ]
rm "${files[@]}"
call tune mini; exits 0; out_has "cpu  "; err_has "shapes measured, kept in $work/kept/v4rt"
check "as many as explain needs" [ "$(ls "$work"/kept/v4rt/*.times | wc -l)" -ge "${#files[@]}" ]
call run mini -p 'def f' -n 4 --fast --no-cache; exits 0
finish
