# Devices as a profile would have them: the same tokens, and what moves is named.
. "$(dirname "$0")/lib.sh"
export XDG_CACHE_HOME=$work/kept  # where nothing was measured

call run mini -p 'The capital of' -n 6 --save-ids "$work/plain"; exits 0
for profile in ascend-like mobile-gpu opencl12-min opencl12-embedded; do
  call run mini -p 'The capital of' -n 6 --profile $profile --save-ids "$work/ids"; exits 0; same_files "$work/plain" "$work/ids"
  call explain mini --profile $profile; exits 0; out_has "what cpu+$profile runs itself"
done
call explain mini --profile ascend-like --tokens 8
out_has "cpu+ascend-like refuses L00.attn.attend: how far it reads depends on the position, and launches of this device have a static shape; placed on cpu"
call explain mini --profile ascend-like --json; exits 0
check "attention elsewhere" [ "$("$json_value" "$work/out" /native/attend/launches)" = 0 ]
call explain mini --profile mobile-gpu --json; check "all of it" [ "$("$json_value" "$work/out" /native/total/launches)" = "$("$json_value" "$work/out" /native/total/all_launches)" ]

cat >"$work/own.json" <<'J'
{"name": "own", "description": "two kinds of numbers",
 "types": {"value": ["bf16", "f32", "i32", "u8"], "source": "a guess"},
 "ops": [{"ops": ["rms_norm"], "refused": "it cannot take roots", "source": "a guess"}]}
J
call explain mini --profile "$work/own.json"; exits 0; out_has "cpu+own refuses"; out_has "it cannot take roots"; out_has "is fp8"
call run mini -p a -n 1 --device cpu+mobile-gpu; exits 0

call run mini -p a -n 1 --profile mobile-gpu --strict; exits 0
call run mini -p a -n 1 --profile ascend-like --strict; refuses 1 "--strict: " "some nodes would run elsewhere" "cpu+ascend-like refuses L04.attn.attend"
# How long it would take: by figures that are said, or that were measured.
echo '{"read_gbs": 1000, "f32_gflops": 1000, "bf16_gflops": 100000, "launch_us": 1000}' >"$work/figures.json"
call explain mini --predict --figures "$work/figures.json"; exits 0; out_has "predicted: "; out_has "linear fp8"; out_has "launch"
call explain mini --predict --figures "$work/figures.json" --json; exits 0
check "a millisecond for each launch" awk "BEGIN { ms = 1000 * $("$json_value" "$work/out" /predicted/seconds); n = $("$json_value" "$work/out" /launches); exit !(ms > n && ms < 1.01 * n) }"
call explain mini --profile ascend-like --predict --figures "$work/figures.json"; refuses 1 "--predict: cpu was not measured: do that once with 'v4rt devices --measure --device cpu'"
call devices --measure --device cpu; exits 0; out_has "products with fp4: "
call explain mini --profile ascend-like --predict --figures "$work/figures.json"; exits 0; out_has "transfer"
call explain mini --profile ascend-like --predict; exits 0; out_has "transfer"  # by the cpu's, which it runs on
call explain mini --predict --json; exits 0; check "less than a second" awk "BEGIN { exit !($("$json_value" "$work/out" /predicted/seconds) < 1) }"
call explain mini --figures "$work/figures.json"; refuses 2 "--predict"
echo '{"read_gbs": 1000}' >"$work/figures.json"; call explain mini --predict --figures "$work/figures.json"; refuses 1 "figures.json: 'f32_gflops' is missing"

call run mini -p a -n 1 --profile nothing; refuses 2 "no profile 'nothing'" "opencl12-min"
sed 's/"rms_norm"/"root"/' "$work/own.json" >"$work/bad.json"; call run mini -p a --profile "$work/bad.json"; refuses 1 "bad.json: 'ops' 0: 'ops': there is no \"root\""
echo '{"name": "x"}' >"$work/bad.json"; call run mini -p a --profile "$work/bad.json"; refuses 1 "'description' is missing"
finish
