# Files that change while they are mapped, memory and threads that do not suffice: the program says so and ends with 1.
. "$(dirname "$0")/lib.sh"

copy() { rm -rf "$model"; mkdir "$model"; cp "$mini"/*.json "$mini"/model.safetensors "$model"; }
model=$work/model file=$work/model/model.safetensors

# talk CHANGE OPTIONS...: a conversation of two messages, and between them what CHANGE does.
talk() {
  local change=$1
  shift
  copy
  called="v4rt chat, $change, $*" status=0
  rm -f "$work/messages"
  mkfifo "$work/messages"
  "$v4rt" chat "$model" -n 4 --thinking off --context 512 "$@" <"$work/messages" >"$work/out" 2>"$work/err" &
  local program=$!
  exec 3>"$work/messages"
  printf 'hello\n' >&3
  for _ in $(seq 600); do [ -s "$work/out" ] && break; sleep 0.1; done
  $change
  printf 'and then?\n' >&3
  exec 3>&-
  wait $program || status=$?
}
nothing() { :; }
cut_short() { truncate -s 5000 "$file"; }
written_to() { printf '\x21' | dd of="$file" bs=1 seek=$(($(stat -c %s "$mini/model.safetensors") - 2)) conv=notrunc status=none; }
replaced() { cp "$file" "$work/another"; written_to_another; mv "$work/another" "$file"; }
written_to_another() { printf '\x21' | dd of="$work/another" bs=1 seek=5000 conv=notrunc status=none; }

talk nothing; exits 0; cp "$work/out" "$work/answers"
talk cut_short; exits 1; err_has "$file: was cut short while it was in use"
model=$work/$'\e[31m\xffmüde\xc2\x9b' file=$model/model.safetensors
talk cut_short; exits 1; err_has '\x1b[31m\xffmüde\xc2\x9b/model.safetensors: was cut short while it was in use'; harmless
model=$work/model file=$model/model.safetensors
talk written_to; exits 1; err_has "$file: was written to while it was in use"
talk replaced; exits 0; same_files "$work/out" "$work/answers"
talk cut_short --no-mmap; exits 0; same_files "$work/out" "$work/answers"
talk written_to --no-mmap; exits 0; same_files "$work/out" "$work/answers"

# Memory: refused with the figures before anything is loaded, and with what helps.
copy
small=(-p 'def f' -n 4 --context 64 --chunk 8)
call run "$work/model" "${small[@]}"; exits 0; cp "$work/out" "$work/text"
call run "$work/model" "${small[@]}" --memory 3MiB
refuses 1 "opening takes" "of weights" "is available" "--weight-cache $XDG_CACHE_HOME/v4rt/weights"
call run "$work/model" "${small[@]}" --memory 3MiB --weight-cache "$work/kept"; exits 0; same_files "$work/out" "$work/text"
call run "$work/model" "${small[@]}" --memory 10KiB --weight-cache "$work/kept"; refuses 1 "opening takes" "a shorter context"
call run "$work/model" "${small[@]}" --memory much; refuses 2 "--memory"
call run "$work/model" "${small[@]}" --no-mmap --weight-cache "$work/kept"; refuses 2 "--no-mmap"

# Memory of a device: what does not fit runs on the next, and is named.
limited=(-p 'The capital of' -n 6)
call run mini "${limited[@]}"; exits 0; cp "$work/out" "$work/moved"
call run mini "${limited[@]}" --device reference --memory reference=1MiB; exits 0; same_files "$work/out" "$work/moved"
call explain mini --device reference --memory reference=1MiB --memory 8GiB; exits 0
out_has "reference has no room for L04.*: it takes"; out_has "and 1.00 MiB may be used; placed on cpu"
call run mini "${limited[@]}" --device reference --memory reference=1MiB --strict; refuses 1 "--strict" "reference has no room for L04.*"
call run mini "${limited[@]}" --memory cpu=1KiB; refuses 1 "are more than the 1.00 KiB of cpu"
call run mini "${limited[@]}" --memory nowhere=1GiB; refuses 1 "nowhere" "only cpu"
call run mini "${limited[@]}" --memory cpu=much; refuses 2 "--memory" "'much'"
call run mini "${limited[@]}" --memory =1GiB; refuses 2 "--memory" "names nothing"

# Threads: whose stacks find no room. Sanitizers need all the address space there is.
limited() { called="v4rt $* with 2 GB of address space" status=0; (ulimit -v 2000000; "$v4rt" "$@") >"$work/out" 2>"$work/err" </dev/null || status=$?; }
limited --version
if [ "$status" = 0 ]; then
  limited run mini "${small[@]}" --threads 4096; refuses 1 "of 4096 threads could be started" "ask for fewer"
  limited run mini "${small[@]}" --threads 3; exits 0; same_files "$work/out" "$work/text"
fi
finish
