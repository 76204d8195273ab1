# Measuring a model on one device: every form of the report, and what its figures satisfy whatever the machine.
. "$(dirname "$0")/lib.sh"
bench=(bench mini --device "$device") limits=

value() { "$json_value" "$work/out" "$@" 2>"$work/value_error"; }  # of the report that the last call printed
is() { check "$1 is $2" [ "$(value "$1")" = "$2" ]; }
positive() { for pointer in "$@"; do check "$pointer is positive" awk "BEGIN { exit !($(value "$pointer") + 0 > 0) }"; done; }
equal() { check "$1 = $2" awk "BEGIN { a = $1; b = $2; d = a - b; exit !(d * d <= 1e-12 * b * b) }"; }
sum() { local i terms=0; for ((i = 0; i < $2; ++i)); do terms+=" + $(value "${1/\*/$i}")"; done; echo "$terms"; }

call "${bench[@]}" -r 1 -p 16 -n 4 --json; exits 0
positive /prefill_tokens_per_s /prefill_gflops /decode_tokens_per_s /decode_gbs /read_gbs /peak_gflops /threads
is /model mini; is /mode faithful; is /chunk 2048; is /repetitions 1
check "device and commit" [ "$(value /device | cut -d: -f1)" = "$device" -a -n "$(value /commit)" ]
is /runs/0/kind prefill; is /runs/0/tokens 16; is /runs/0/depth 0
is /runs/1/kind decode; is /runs/1/tokens 4; is /runs/1/depth 16; is /runs/1/synthetic_state false
equal "$(value /decode_gbs)" "$(value /decode_bytes_per_token) * $(value /decode_tokens_per_s) / 1e9"
around() { echo "(($(value "/runs/$1/0") + $(value "/runs/$1/1")) / 2)"; }  # a repetition: what the machine did before and after it
equal "$(value /runs/1/read_share)" "$(value /decode_gbs) / $(around 1/read_gbs_around)"
equal "$(value /runs/0/peak_share)" "$(value /prefill_gflops) / $(around 0/peak_gflops_around)"
if [ "$device" = cpu ] && "$v4rt" devices | grep -A5 '^cpu' | grep -q 'features.*amx'; then
  check "a matrix unit multiplies faster than vectors do" awk "BEGIN { exit !($(value /peak_matrix_gflops) > $(value /peak_gflops)) }"
  equal "$(value /runs/0/matrix_share)" "$(value /prefill_gflops) / $(around 0/matrix_gflops_around)"
else
  is /peak_matrix_gflops null
fi
equal "$(value /decode_tokens_per_s)" "4 / $(value /runs/1/seconds)"
if grep -q AnonHugePages /proc/self/smaps_rollup 2>/dev/null; then
  positive /memory_bytes
  check "the memory is the model's, not what the machine was measured with" awk "BEGIN { exit !($(value /memory_bytes) < 1e9) }"
  check "no more huge pages than memory" awk "BEGIN { h = $(value /huge_page_bytes); exit !(h >= 0 && h <= $(value /memory_bytes)) }"
fi
check "no ops unless asked for" [ -z "$(value /runs/0/ops)" ]

# Both ways of reading a prompt; on a device that has only one, or where the other is not faster, they are the same.
call "${bench[@]}" -r 1 -p 16 -n 0 --fast --json; exits 0
is /runs/0/fast false; is /runs/1/fast true; is /runs/1/kind prefill
equal "$(value /fast_prefill_tokens_per_s)" "16 / $(value /runs/1/seconds)"
equal "$(value /runs/1/over_exact)" "$(value /runs/0/seconds) / $(value /runs/1/seconds)"
check "nothing fast unless asked for" [ -z "$(call "${bench[@]}" -r 1 -p 0 -n 1 --json; value /fast_prefill_tokens_per_s)" ]

# What a token touches is what `explain` counts at its position.
figures=(weight_bytes state_bytes io_bytes flops)
call explain mini --device "$device" --position 16 --json; exits 0
nodes=$(grep -c '"node": ' "$work/out")
for figure in "${figures[@]}"; do explained+=("$(sum "/nodes/*/$figure" "$nodes")"); done
call "${bench[@]}" -r 1 -p 16 -n 1 --json; exits 0
for i in "${!figures[@]}"; do equal "$(value "/runs/1/${figures[i]}_per_token")" "${explained[i]}"; done

# At depth: nothing is computed to get there. Each op has its line, and the lines are the whole.
call "${bench[@]}" -r 3 -p 16,40 -n 4 -d 3000 --numbers plain --chunk 16 --ops --json; exits 0
is /mode plain; is /decode_depth 3000; is /runs/2/synthetic_state true; is /runs/1/tokens 40
check "a time for each repetition" [ "$(value /runs/2/seconds | wc -w)" = 3 ]
check "the machine before, between and after" [ -n "$(value /runs/2/read_gbs_around/3)" -a -z "$(value /runs/2/read_gbs_around/4)" ]
check "a spread" awk "BEGIN { exit !($(value /runs/2/tokens_per_s/min) <= $(value /runs/2/tokens_per_s/median)) }"
for run in 0 2; do
  ops=$(value /runs/$run/ops | grep -o '"op":' | wc -l)
  for op in attend index_select "linear fp8" "moe_down fp4"; do check "a line for $op" grep -qE "\"op\":\"([^\"]* \+ )?$op[ \"]" <(value /runs/$run/ops); done
  equal "$(sum "/runs/$run/ops/*/share" "$ops")" 1
  equal "$(value /runs/$run/flops_per_token)" "($(sum "/runs/$run/ops/*/flops" "$ops")) / $(value /runs/$run/tokens)"
  for ((i = 0; i < ops; ++i)); do limits+=" $(value /runs/$run/ops/$i/limit)"; done
done
check "limits" [ -z "$(tr ' ' '\n' <<<"$limits" | grep -vE '^(memory|compute)?$')" ]
check "more context, more state" awk "BEGIN { exit !($(value /runs/2/state_bytes_per_token) > 10 * $(value /runs/0/state_bytes_per_token)) }"

call "${bench[@]}" -r 1 -p 16 -n 4 --ops; exits 0
out_has "mini on $device"; out_has "prefill 16"; out_has "decode 4 at 16"; out_has "moe_gate_up fp4"; out_has "GB/s"; out_has "of limit"
call "${bench[@]}" -r 1 -p 16 -n 4 -d 100 --markdown --ops; exits 0
out_has "| prefill 16 |"; out_has "| decode 4 at 100 (state made up) |"; out_has "|---|---:|"; out_has "| attend |"

# Several sequences at once have a line of their own, after that of one alone.
call "${bench[@]}" -r 1 -p 0 -n 3 -d 50 --parallel 2 --json; exits 0
is /runs/0/sequences 1; is /runs/0/tokens 3; is /runs/1/sequences 2; is /runs/1/tokens 6; is /runs/1/depth 50
equal "$(value /decode_tokens_per_s)" "3 / $(value /runs/0/seconds)"
check "experts and matrices are read for both" awk "BEGIN { exit !($(value /runs/1/weight_bytes_per_token) < $(value /runs/0/weight_bytes_per_token)) }"
call "${bench[@]}" -r 1 -p 0 -n 2 --parallel 2; exits 0; out_has "decode 2 x 2 at 0"
call "${bench[@]}" --parallel 0; exits 2

# Only one of the two.
call "${bench[@]}" -r 1 -p 0 -n 2 --json; exits 0; is /prefill_tokens_per_s null; is /decode_depth 0
call "${bench[@]}" -r 1 -p 5 -n 0 --json; exits 0; is /decode_tokens_per_s null; positive /prefill_tokens_per_s
finish
