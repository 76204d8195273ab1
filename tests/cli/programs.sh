# Programs that an OpenCL device compiles: kept, listed, cleared, and written out to be looked at.
. "$(dirname "$0")/lib.sh"
export XDG_CACHE_HOME=$work/kept
kept=$work/kept/v4rt
value() { "$json_value" "$work/out" "$@" 2>"$work/value_error"; }  # of what the last call printed
entries() { grep -c '"kind": "'"$1"'"' "$work/out"; }

call cache list; exits 0; out_has "$kept: 0 entries"
call cache list --json; exits 0; out_has '"entries": []'; check "no bytes" [ "$(value /bytes)" = 0 ]
call cache; refuses 2 "ACTION"
call cache empty; refuses 2 "empty" "list" "clear"
call cache list --device ''; refuses 2 "--device"
XDG_CACHE_HOME='' HOME='' call cache list; refuses 1 "XDG_CACHE_HOME"

call kernels mini --device cpu; refuses 2 "--dump"
call kernels --device opencl --dump "$work/dump"; refuses 2 "MODEL or --release"
call kernels mini --release flash --device opencl --dump "$work/dump"; refuses 2 "--release"
call kernels --release none --device opencl --dump "$work/dump"; refuses 2 "flash" "pro"
call kernels mini --device cpu --dump "$work/dump"; refuses 1 "cpu compiles no programs" "--device"
check "no folder is made" [ ! -e "$work/dump" ]
call kernels mini --device opencl --dump "$mini"; refuses 1 "--dump $mini: is not empty" "another folder"
call kernels mini --device opencl --dump "$work/dump"; exits 0; out_has "programs and index.json"

# Each program with its files, and the kernels of both plans: decoding takes other tiles than reading a prompt.
cp "$work/dump/index.json" "$work/out"
check "a device" [ "$(value /devices/0/device)" = opencl:0 -a -n "$(value /devices/0/description)" -a -z "$(value /devices/1)" ]
for ((count = 0; ; ++count)); do
  program=/devices/0/programs/$count
  [ -n "$(value $program)" ] || break
  for part in source binary log; do check "$program has its $part" [ -f "$work/dump/$(value $program/$part)" ]; done
  check "$program has a binary" [ -s "$work/dump/$(value $program/binary)" ]
  check "$program has a kernel in its source" grep -qF "KERNEL void $(value $program/kernels/0/name)(" "$work/dump/$(value $program/source)"
  check "$program has options" grep -qF -- "-DVECTOR_LANES=" <<<"$(value $program/options)"
  check "$program has work-groups" [ "$(value $program/kernels/0/work_group_size/0)" -ge 1 ]
done
check "programs" [ "$count" -ge 20 -a "$(ls "$work/dump" | wc -l)" = $((3 * count + 1)) ]
check "more than one form of linear.cl" [ "$(grep -c '"file": "linear' "$work/dump/index.json")" -ge 2 ]
check "products of one token side by side" grep -qF '"file": "products.cl"' "$work/dump/index.json"
check "nothing was stored" [ ! -e "$kept" ]

# The other form of kernels; its programs are kept apart.
call kernels mini --device opencl --lanes work-items --dump "$work/wide"; exits 0
check "the other form" grep -qF -- "-DVECTOR_LANES=0" "$work/wide/index.json"
check "the other kernels" grep -qF '"file": "linear_wide.cl"' "$work/wide/index.json"

# What is stored when: as soon as it is compiled, so that a run that is killed before its first token loses nothing.
"$v4rt" run mini -p a -n 1 --device opencl >/dev/null 2>&1 &
program=$!
for _ in $(seq 600); do [ "$(ls "$kept" 2>/dev/null | grep -c 'clbin$')" -ge 2 ] && break; sleep 0.05; done
kill -KILL $program
wait $program 2>/dev/null
call cache list --json; exits 0; check "programs of a run that was killed" [ "$(entries program)" -ge 2 ]
call run mini -p a -n 1 --device opencl; exits 0
call cache list --json; exits 0
check "every program" [ "$(entries program)" -ge 20 ]
check "its name" grep -qE '"what": "linear of linear.cl ACT=bf16' "$work/out"
check "its device" [ -n "$(value /entries/1/device)" -a -n "$(value /entries/1/driver)" ]
check "no other device" [ "$(grep -c '"device": "'"$(value /entries/1/device)"'"' "$work/out")" = "$(entries program)" ]
all=$(entries program)
call cache list; exits 0; out_has "linear of linear.cl ACT=bf16"; out_has " entries, "; out_has "driver"
call run mini -p a -n 1 --device opencl; exits 0; call cache list --json; check "none is stored twice" [ "$(entries program)" = "$all" ]

# A binary that crashes the driver leaves its mark; the next run says so, and is none the worse.
entry=$(ls "$kept"/*.clbin | head -n 1)
: >"$entry.1.0.trial"
call run mini -p a -n 1 --device opencl; exits 0
err_has "warning: opencl:0: a process ended while its driver loaded the stored binary of "; err_has "$entry"; err_has "--no-cache"
call run mini -p a -n 1 --device opencl; exits 0; check "once" [ "$(grep -c warning "$work/err")" = 0 ]

# By device; what is unusable belongs to none.
printf damaged >"$kept/damaged.clbin"
call cache list --device opencl:0 --json; exits 0; check "all of them" [ "$(entries program)" = "$all" -a "$(entries unusable)" = 0 ]
call cache list --device cpu --json; exits 0; check "none" [ "$(entries program)" = 0 ]
call cache clear --device 'no such device'; exits 0; out_has "removed 0 entries"
call cache list; exits 0; out_has "damaged.clbin: it has no header"
call cache clear --device opencl --json; exits 0; check "all of them, and the form that was measured" [ "$(value /removed)" = $((all + 1)) ]
call cache clear; exits 0; out_has "removed 1 entry"
check "nothing is left" [ -z "$(ls "$kept")" ]
finish
