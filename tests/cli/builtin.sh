# A device without a compiler, with a matrix product built in (tests/driver): every linear op on it, the rest on cpu.
. "$(dirname "$0")/lib.sh"
export OCL_ICD_VENDORS=$device MATRIX_DRIVER_LOG=$work/log
here=(--device cpu --place '*=opencl' --fast)
logged() { sed -n "s/^$1 //p" "$work/log"; }

call devices; exits 0; out_has "opencl:0"; out_has "matrix unit, Matrix driver for tests, driver 1"; out_has "features    no_compiler, pocl.sgemm.local.f32"
call devices --measure --device opencl; exits 0; out_has "uploads"

prompt=$'def factorial(n):\n    '
for numbers in plain faithful; do
  call run mini -p "$prompt" -n 24 --numbers $numbers --save-ids "$work/exact"; exits 0
  call run mini "${here[@]}" -p "$prompt" -n 24 --numbers $numbers --save-ids "$work/ids"; exits 0; same_files "$work/exact" "$work/ids"
  check "its product ran" [ "$(logged launches)" -gt 1000 ]
  check "every object was released" [ "$(logged 'live objects')" = 0 ]
done

# Its sums are not those of the exact kernels, and near them.
printf 'def factorial(n):\n    return n\n\nclass A:\n    def f(self):\n        pass\n' >"$work/text"
perplexity() { call perplexity mini -f "$work/text" --numbers plain --json "$@"; exits 0; surprise=$("$json_value" "$work/out" /perplexity); }
perplexity; exact=$surprise
perplexity "${here[@]}"
check "sums in an order of its own" [ "$surprise" != "$exact" ]
check "a perplexity of $surprise, exactly $exact" awk "BEGIN { d = $surprise / $exact - 1; exit !(d * d < 1e-10) }"
call compare mini --devices cpu,cpu+fast --place '*=opencl' -p 8 -n 2 -r 1; exits 0; out_has "opencl.linear.builtin"

call explain mini "${here[@]}" --json; exits 0
on_device=$(grep -c '"kernel": "opencl.linear.builtin"' "$work/out")
check "every linear op is on it" [ "$on_device" -gt 0 ] && check "and none elsewhere" [ "$(grep -c '"kernel": "cpu.linear' "$work/out")" = 0 ]
call explain mini "${here[@]}"; out_has "the driver's built-in product for linear"
out_has "opencl:0 refuses L00.attn.q_norm: no kernel for rms_norm; placed on cpu"

# Without --fast nothing may sum in another order; with --strict nothing may run elsewhere.
call run mini --place '*=opencl' -p a -n 2; exits 0
check "nothing ran on it but the check" [ "$(logged launches)" = 1 ]
call explain mini --place '*=opencl'; out_has "its sums have an order of their own: taken only with --fast"
call run mini "${here[@]}" --strict -p a -n 2; refuses 1 "--strict"
call run mini --device opencl -p a -n 2; refuses 1 "no device takes these nodes; one more, such as cpu, may:" "opencl:0 refuses embed: no kernel for embed_rows" "more"
check "in a few lines" [ "$(wc -l <"$work/err")" -le 12 ]

# What is wrong is refused, with the fact.
MATRIX_DRIVER_FAULT=product call run mini "${here[@]}" -p a -n 2
refuses 1 "its pocl.sgemm.local.f32 is wrong: [0, 0] of a product of whole numbers is"
MATRIX_DRIVER_FAULT=enqueue=9 call run mini "${here[@]}" -p a -n 2
refuses 1 "opencl:0: pocl.sgemm.local.f32: clEnqueueNDRangeKernel" "CL_OUT_OF_RESOURCES"
check "every object was released" [ "$(logged 'live objects')" = 0 ]
MATRIX_DRIVER_KERNELS=vendor.fft call devices; exits 0; out_has "not usable: opencl: matrix unit: it has no compiler, and none of its built-in kernels is known here: vendor.fft"
MATRIX_DRIVER_KERNELS=vendor.fft call run mini --device opencl -p a -n 1; refuses 1 "vendor.fft"
MATRIX_DRIVER_KERNELS= call devices; out_has "it has no compiler, and no built-in kernels"
finish
