# Every command that runs a model, on one device.
. "$(dirname "$0")/lib.sh"

prompt=$'def factorial(n):\n    '
completion=$' if not self._debug:\n        return self._current_process\n\n    def __repr__(self):\n        return self._current_process(self._current_process, self._current_process)\n'

call devices; exits 0; out_has "$device"; out_has "transparent huge pages: "
call devices --json; exits 0; out_has "\"name\": \"$device"
out_has '"transparent_huge_pages": '"$(sed -nE 's/.*\[(.*)\].*/"\1"/p' /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null || echo null)"
call devices --measure --device "$device"; exits 0; out_has "a launch "; out_has "uploads"
call devices --json; exits 0; out_has '"launch_us"'
call devices --device "$device"; refuses 2 "--measure"
call devices --measure --device nowhere; refuses 1 "no device named 'nowhere'"

call run mini --device "$device" -p "$prompt" --numbers plain --save-ids "$work/ids"
exits 0; out_is "$completion"; err_has "end token"; err_has "tokens/s"; err_has "first token"
check "one id a token, without the end token" [ "$(wc -l <"$work/ids")" = 45 ]
call run mini --device "$device" -p "$prompt" --numbers plain -n 3; exits 0; err_has "-n"
call run mini --device "$device" -p "$prompt" --numbers plain --json; exits 0; out_has '"stop": "end_token"'; out_has '"tokens": 45'

if [ "$device" = opencl ]; then
  check "compiled programs are kept" [ -n "$(ls "$XDG_CACHE_HOME/v4rt")" ]
  call devices; exits 0; out_has "kernels     on "
  check "the form of kernels was measured" grep -Eq 'kernels +on (vector lanes|work-items) \(measured: on .* takes [0-9.]+ times as long' "$work/out"
  call explain mini --device opencl; exits 0; out_has "kernels  of opencl:0 on " " (measured: "
  call explain mini --device opencl --lanes work-items; exits 0; out_has "kernels  of opencl:0 on work-items (as asked"
  call explain mini --device opencl --json; exits 0
  check "JSON says so too" [ "$("$json_value" "$work/out" /devices/0/kernel_form/measured)" = true ]
  call explain mini --device opencl --no-cache --json; exits 0
  check "or that it was not" [ "$("$json_value" "$work/out" /devices/0/kernel_form/measured)" = false ]
  call devices --json; exits 0
  check "the form of kernels" grep -q '"form": "\(vector lanes\|work-items\)"' "$work/out"

  # PoCL without a home to write to lists no devices: it is named with the call and its code.
  broken() { broken_program "$v4rt" "$@"; }
  broken_program() { called="$* without a home" status=0; env -u XDG_CACHE_HOME -u POCL_CACHE_DIR HOME=/proc "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?; }
  broken devices; exits 0
  if ! grep -q "^opencl:" "$work/out"; then  # of another platform
    out_has "Portable Computing Language: clGetDeviceIDs: CL_"
    broken devices --json; exits 0; check "a problem" [ "$("$json_value" "$work/out" /problems/0 | grep -c clGetDeviceIDs)" = 1 ]
    broken_program "$(dirname "$v4rt")/api_test" "$mini" reference; exits 0; err_has "not usable: opencl: Portable Computing Language: clGetDeviceIDs: CL_"
    for name in opencl opencl:1 portable; do
      broken run mini -p a -n 1 --device $name; refuses 1 "Portable Computing Language: clGetDeviceIDs: CL_"
      check "each problem on a line of its own" grep -q '^  .*Portable' "$work/err"
    done

    # PoCL can be told how large its work-groups may be.
    POCL_MAX_WORK_GROUP_SIZE=32 call run mini -p a -n 1 --device opencl --lanes work-items; refuses 1 "at most 32 work-items"
    POCL_MAX_WORK_GROUP_SIZE=32 call run mini -p a -n 1 --device opencl; exits 0
    POCL_MAX_WORK_GROUP_SIZE=32 call explain mini --device opencl; exits 0; out_has "(on work-items there was an error" "at most 32 work-items"
  fi
fi

# Parts of a device, each with layers of its own.
if [ "$device" = opencl ] && [ "$(nproc)" -ge 2 ]; then
  call run mini --device opencl:0/0 --place 'L01.*=opencl:0/1' -p "$prompt" --numbers plain --save-ids "$work/parts"; exits 0; same_files "$work/ids" "$work/parts"
  call explain mini --device opencl:0/1; exits 0; out_has "kernels  of opencl:0/1 on "
  call cache list; exits 0
  check "which is its own" [ "$(grep "form of kernels" "$work/out" | grep -o "[0-9]* compute unit" | sort -u | wc -l)" -ge 2 ]
  call devices --measure --device opencl:0/1; exits 0; out_has "opencl:0/1"; out_has "a launch "
  call explain mini --device opencl:0/1 --predict; exits 0; out_has "predicted: "
  call run mini --device opencl:0/9999 -p a -n 1; refuses 2 "parts, opencl:0/0 to opencl:0/"
  for name in opencl:0/ opencl:0/x opencl:/1 opencl/1; do call run mini --device $name -p a -n 1; refuses 2 "no device named '$name'"; done
fi

# The same choice for the same seed, whatever the chunk; another one for another seed.
sample() { call run mini --device "$device" -p "$prompt" -n 12 --temperature 1.5 --top-p 0.95 --seed "$1" --chunk "$2" --save-ids "$work/$3"; exits 0; }
sample 1 64 a; sample 1 3 b; same_files "$work/a" "$work/b"
sample 2 64 c; check "another seed, another text" [ "$(cat "$work/a")" != "$(cat "$work/c")" ]

# Logits: the same bits for every chunk size, and those of the reference device.
seq 3 41 | awk '{print ($1 * 7919) % 2048}' >"$work/some.ids"
logits() { call logits mini --ids "$work/some.ids" --mtp -o "$work/$1" "${@:2}"; exits 0; silent; }
for numbers in faithful plain; do
  logits whole --device "$device" --numbers $numbers
  for chunk in 1 7; do logits split --device "$device" --numbers $numbers --chunk $chunk; same_files "$work/whole" "$work/split"; done
  [ "$device" = reference ] && continue
  logits reference --device reference --numbers $numbers; same_files "$work/whole" "$work/reference"
done
check "the header" grep -qF '"logits":{"dtype":"F32","shape":[39,2048],"data_offsets":[0,319488]},"mtp_logits":{"dtype":"F32","shape":[38,2048]' "$work/whole"

if [ "$device" = opencl ]; then
  for lanes in vector work-items; do logits lanes --device opencl --lanes $lanes --numbers plain; same_files "$work/whole" "$work/lanes"; done
  logits launches --device opencl --launches long --numbers plain; same_files "$work/whole" "$work/launches"
fi

head -c 200 "$mini/golden/perplexity.txt" >"$work/text"
call perplexity mini -f "$work/text" --device "$device" --json; exits 0; out_has '"perplexity"'; cp "$work/out" "$work/json"
call perplexity mini -f "$work/text" --device "$device"; exits 0; out_has "perplexity "; err_has "mean negative log likelihood"
call perplexity mini -f "$work/text" --device reference; reference=$(cat "$work/out")
call perplexity mini -f "$work/text" --device "$device" --chunk 5; out_is "$reference"$'\n'

call explain mini --device "$device"; exits 0; out_has "$device"; out_has "arena"; out_has "state"; out_has "refusals none"; out_has "6.36 M"
call explain mini --device "$device"; out_has "chunk    2048 tokens"
call explain mini --device "$device" --context 100; out_has "chunk    100 tokens"
call explain mini --device "$device" --tokens 8 --json; exits 0; out_has '"kernel"'; out_has '"refusals": []'

# Weights that make numbers grow past all bounds: no result, whatever asks for one.
mkdir "$work/huge"; cp "$mini"/*.json "$mini/model.safetensors" "$work/huge"
huge=$work/huge/model.safetensors
read -r begin end < <(grep -aoE '"norm\.weight":\{[^}]*' "$huge" | sed -E 's/.*\[([0-9]+),([0-9]+)\].*/\1 \2/')
data=$((8 + $(od -An -t u8 -N 8 "$huge")))
yes $'\x7f' | tr -d '\n' | head -c $((end - begin)) | dd of="$huge" bs=1 seek=$((data + begin)) conv=notrunc status=none
call run "$work/huge" --device "$device" -p a -n 2; refuses 1 "position 1: the logit of token"
call logits "$work/huge" --device "$device" --ids "$work/some.ids" -o "$work/o"; refuses 1 "position 0: the logit of token"
call perplexity "$work/huge" --device "$device" -f "$work/text"; refuses 1 "position 0: the logit of token"

# Experts elsewhere: the same tokens, through transfers.
call run mini --device "$device" --place '*.experts.*=reference' -p "$prompt" -n 8 --save-ids "$work/placed"; exits 0
call run mini --device "$device" -p "$prompt" -n 8 --save-ids "$work/here"; exits 0; same_files "$work/placed" "$work/here"
call explain mini --device "$device" --place '*.experts.*=reference'; exits 0; out_has "reference.moe_down"
finish
