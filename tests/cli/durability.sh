# What is kept in a folder of beginnings while processes are killed and disks are full: never a wrong token, never a crash.
# V4RT_KILLS: how many processes are killed.
. "$(dirname "$0")/lib.sh"
kills=${V4RT_KILLS:-4}

for i in 1 2 3 4 5 6; do
  printf '{"prompt": "%s"}\n' "$(tail -c +$((2000 * i)) "$source/README.md" | head -c 1600 | tr -d '\\"' | tr '\n' ' ')"
done >"$work/lines"
run=(run mini -f "$work/lines" --parallel 3 -n 3)
answers() { while read -r line; do printf '%s' "$line" >"$work/answer"; "$json_value" "$work/answer" /line /ids /stop | tr '\n' ' '; echo; done <"$work/out" | sort; }
call "${run[@]}"; exits 0
expected=$(answers)
check "six answers" [ "$(wc -l <<<"$expected")" = 6 ]
same() { exits 0; check "$1: the same answers" [ "$(answers)" = "$expected" ]; }

# Killed while it writes: what is there is whole. Each time two thirds of it are to be written again.
keep=(--prefix-cache "$work/kept")
parts() { find "$work/kept" -name '*.kv' | wc -l; }
call "${run[@]}" "${keep[@]}"; same "while it is written"
all=$(parts) between=0
check "there are parts" [ "$all" -gt 12 ]
RANDOM=7
for ((i = 1; i <= kills; ++i)); do
  find "$work/kept" -name '*.kv' | sort | awk -v i="$i" '(NR + i) % 3' | xargs -r rm
  before=$(parts)
  "$v4rt" "${run[@]}" "${keep[@]}" >/dev/null 2>&1 &
  program=$!
  while [ "$(parts)" = "$before" ] && kill -0 $program 2>/dev/null; do :; done
  sleep "$(printf '0.%03d' $((RANDOM % 60)))"
  kill -KILL $program 2>/dev/null
  wait $program 2>/dev/null
  [ "$(parts)" -lt "$all" ] && between=$((between + 1))
  call "${run[@]}" "${keep[@]}"; same "after $i were killed"
  check "nothing was damaged" [ -z "$(grep damaged "$work/err")" ]
done
echo "$between of $kills were killed before they had written all"
check "some were killed while they wrote" [ "$between" -gt 0 ]

# Where a file cannot be written to its end, it is as if there were none.
rm -rf "$work/kept"
limited() { (trap '' XFSZ && ulimit -f "$1" && shift && exec "$v4rt" "$@") >"$work/out" 2>"$work/err" </dev/null; status=$?; }
called="v4rt ${run[*]} with files of 4 KiB at most"
limited 4 "${run[@]}" "${keep[@]}"; same "files of 4 KiB"
err_has "this part is kept in memory only"
check "no file of them is left" [ -z "$(find "$work/kept" -name '*.part')" ]
call "${run[@]}" "${keep[@]}"; same "after them"

mkdir "$work/disk"
if mount -t tmpfs -o size=96k v4rt-test "$work/disk" 2>/dev/null; then
  for _ in 1 2; do
    call "${run[@]}" --prefix-cache "$work/disk"; same "a full disk"
    err_has "No space left on device"
  done
  umount "$work/disk"
fi
finish
