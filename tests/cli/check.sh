# check: a device beside the reference, op by op.
. "$(dirname "$0")/lib.sh"
count() { "$json_value" "$work/findings" "$1"; }

call check --device cpu --ops rms_norm,swiglu -o "$work/findings"; exits 0
out_has "cpu"; out_has "rms_norm"; out_has "all"; check "no others" [ -z "$(grep attend "$work/out")" ]
cases=$(grep -c '"verdict": "same bits"' "$work/findings"); check "some cases, all right" [ "$cases" -gt 10 -a "$(count /same_bits)" = "$cases" ]
out_has "features"; check "versions" [ "$(count /version | grep -c commit)" = 1 ]

# What a device refuses is no fault of it.
call check --device cpu --profile ascend-like --ops ring_append,rms_norm --json; exits 0; out_has '"refused"'; out_has "how far it reads depends on the position"
call check --device cpu --ops linear --seconds 0.001; exits 0; out_has "not run"

call check --ops root; refuses 2 "--ops root"
call check --device nowhere; refuses 1 "no device named 'nowhere'"
call check --ops take_last -o "$work/none/o"; refuses 1 "$work/none/o"
finish
