# Help, version, and command lines that have no meaning.
. "$(dirname "$0")/lib.sh"

call --help; exits 0; out_has "run"; out_has "perplexity"; out_has "v4rt run mini"
check "no messages" [ ! -s "$work/err" ]
for command in run chat inspect devices explain logits perplexity receipt compare check bench synth verify tune kernels cache; do
  call "$command" --help; exits 0; out_has "--help"
done
call run --help
for option in --prompt --file --plain --max-tokens --device --temperature --top-p --seed --numbers --context --chunk --lanes --launches; do out_has "$option"; done

call --version; exits 0; out_has "v4rt 0."; out_has "commit"; out_has "compiler"; out_has "reference, cpu"

call; refuses 2 "subcommand" "v4rt --help"
call walk; refuses 2 "walk"
call run; refuses 2 "MODEL"
call run mini --no-such-option; refuses 2 "--no-such-option" "v4rt run --help"
call run mini -p a -f b; refuses 2 "--file"
call run mini -p a -n 0; refuses 2 "--max-tokens"
call run mini -p a -n many; refuses 2 "many"
call run mini -p a -n 0x10; refuses 2 "--max-tokens" "0x10"
call run mini -p a -n 99999999999999999999; refuses 2 "--max-tokens"
for seed in 18446744073709551616 -1 1.5 x ""; do call run mini -p a --seed "$seed"; refuses 2 "--seed"; done
call run mini -p a --seed 18446744073709551615 -n 1; exits 0
call run mini -p a --threads 1x; refuses 2 "--threads"
call run mini -p a --temperature 1e999; refuses 2 "--temperature"
call run mini -p a --temperature -1; refuses 2 "--temperature"
call run mini -p a --temperature nan; refuses 2 "--temperature" "nan"
call run mini -p a --top-p nan; refuses 2 "--top-p"
call run mini -p a --lanes diagonal; exits 2; silent; err_has "--lanes"
call run mini -p a --launches middling; refuses 2 "--launches" "middling"
call run mini -p a --top-p 0; refuses 2 "--top-p"
call run mini -p a --top-p 1.5; refuses 2 "--top-p"
call run mini -p a --numbers exact; refuses 2 "exact" "faithful"
call run mini -p a --chunk 0; refuses 2 "--chunk"
call run mini -p a --context 0; refuses 2 "--context"
call run mini -p a --threads 0; refuses 2 "--threads"
for size in -1 0 1.5GiB 99999999999999999999 99999999999G 8XB 8GiBs GiB 0x10 "" much; do
  call run mini -p a --memory "$size"; refuses 2 "--memory" "'$size'" "from 1 to 1152921504606846976"
done
for size in 1073741824 1g "2 GB" 2Gib 1048576KiB 1E; do call run mini -p a -n 1 --memory "$size"; exits 0; done
# Whole numbers with a range: what is outside it, does not fit, is a fraction, or goes on after the number.
refuses_numbers() { # OPTION RANGE COMMAND...
  local option=$1 range=$2 number
  shift 2
  for number in -1 99999999999999999999 1.5 7x 0x7 ""; do call "$@" "$option=$number"; refuses 2 "$option" "'$number'" "$range"; done
}
for option in --max-tokens --context; do refuses_numbers $option "from 1 to 1099511627776" run mini -p a; done
refuses_numbers --max-tokens "from 1 to 1099511627776" chat mini
refuses_numbers --chunk "from 1 to 65536" run mini -p a
refuses_numbers --threads "from 1 to 4096" run mini -p a
refuses_numbers --seed "from 0 to 18446744073709551615" chat mini
refuses_numbers --tokens "from 1 to 65536" explain mini
refuses_numbers --position "from 0 to 1073741824" explain mini
for option in --prompt-tokens --decode-tokens --depth; do refuses_numbers $option "from 0 to 1073741824" bench mini; done
refuses_numbers --repetitions "from 1 to 10000" bench mini
refuses_numbers --layers "from 1 to 1024" synth flash -o "$work/x"
refuses_numbers --experts "from 6 to 4096" synth flash -o "$work/x"
refuses_numbers --vocab "from 2 to 16777216" synth flash -o "$work/x"
refuses_numbers --seed "from 0 to 18446744073709551615" synth flash -o "$work/x"
call run mini -p a --place nonsense; refuses 2 "--place nonsense" "PATTERN=DEVICE"
call run mini -p a --device no_such_device; refuses 2 "--device: " "no_such_device" "cpu"
call run mini -p a --place '*=no_such_device'; refuses 2 "--place *=no_such_device: no device"
call run mini -p a --place '*.experts.*=opencl:77'; exits 2; check "the option as it was given" grep -qF -- "--place *.experts.*=opencl:77: " "$work/err"
call run mini -p a --place 'no_such_node=cpu'; refuses 2 "--place no_such_node=cpu" "explain"
call synth flash -o "$work/x" --seed 18446744073709551616; refuses 2 "--seed"
for ratio in -1 1.5 4x 0x4 ""; do call synth flash -o "$work/x" "--ratios=$ratio"; refuses 2 "--ratios: $ratio not in"; done
call explain mini --position 0x1; refuses 2 "--position"
call bench mini -p 16,x; refuses 2 "--prompt-tokens"
# Decimal, whatever is before it.
call run mini -p a --ignore-end -n 010 --save-ids "$work/ids"; exits 0; check "ten tokens" [ "$(wc -l <"$work/ids")" = 10 ]

# What a terminal would obey is shown, not sent.
red=$'\e[31m\xff'
call "$red"; refuses 2 '\x1b[31m\xff'; harmless
call run "$red" -p a; refuses 1 '\x1b[31m\xff'; harmless
call run mini -p a --seed "$red"; refuses 2 '\x1b[31m\xff'; harmless
call run mini -p a --device "$red"; refuses 2 '\x1b[31m\xff'; harmless
call run mini -p a --place "$red=cpu"; refuses 2 '\x1b[31m\xff'; harmless
call run mini -p a -n 1 --weight-cache "$work/cache$red"; harmless
call run mini -f "$work/$red"; refuses 1 '\x1b[31m\xff'; harmless
call run mini -p a "--$red"; refuses 2 '\x1b[31m\xff'; harmless
printf '%s' "$red" >"$work/some.ids"; call logits mini --ids "$work/some.ids" -o "$work/x"; refuses 1 '\x1b[31m\xff'; harmless
printf 5 >"$work/some.ids"; call logits mini --ids "$work/some.ids" -o "$work/$red"; exits 0; err_has '\x1b[31m\xff'; harmless
printf '\xef\xbb\xbfa' >"$work/text$red"; call run mini -f "$work/text$red" -n 1; exits 0; err_has 'text\x1b[31m\xff'

call chat mini --thinking maybe; refuses 2 "maybe"
call logits mini -o "$work/x"; refuses 2 "--ids"
call logits mini --ids "$work/x"; refuses 2 "--output"
call perplexity mini; refuses 2 "--file"
call inspect; refuses 2 "MODEL"
call bench mini -p 0 -n 0; refuses 2 "-p 0 -n 0"
call bench mini -p x; refuses 2 "--prompt-tokens"
call bench mini -p -1; refuses 2 "--prompt-tokens"
call bench mini -r 0; refuses 2 "--repetitions"
call bench mini --json --markdown; refuses 2 "--markdown"
call bench mini -p 16 -d 2000000; refuses 1 "1048576"
call explain mini --tokens 100 --chunk 8; refuses 2 "--tokens 100" "--chunk"
finish
