# The server, by curl: what it answers, what it refuses, and how it ends.
. "$(dirname "$0")/lib.sh"
command -v curl >/dev/null || skip "curl is not here"

# The answer is in out, its head in head, and the status beside: ask PATH [BODY [curl's OPTIONS...]]
ask() {
  local path=$1 body=${2-}
  shift
  [ $# -gt 0 ] && shift
  called="$path ${body:0:200} $*"
  status=$(curl -s -m 60 -o "$work/out" -D "$work/head" -w '%{http_code}' ${body:+-d "$body" -H "Content-Type: $type"} \
    "$@" "http://127.0.0.1:$port$path" 2>"$work/err")
}
is() { check "$1 is $2" [ "$("$json_value" "$work/out" "$1")" = "$2" ]; }
value() { "$json_value" "$work/out" "$1"; }
chat() { # MESSAGE MEMBERS: a request of temperature 0 without reasoning
  printf '{"messages":[{"role":"user","content":"%s"}],"temperature":0,"thinking":{"type":"disabled"}%s}' "$1" "${2:+,$2}"
}
deltas() { # MEMBER: what a stream said of it
  sed -n 's/^data: {/{/p' "$work/out" | member=$1 perl -MJSON::PP -ne 'my $c = decode_json($_)->{choices}[0] or next;
    my $t = $c->{delta}{$ENV{member}}; binmode STDOUT, ":utf8"; print $t if defined $t'
}
chats=/v1/chat/completions type=application/json
capital=$(chat 'What is the capital of France?')

start_server --parallel 3 --queue 2
check "it says that only this machine can connect" grep -q 'this machine alone' "$work/log"
ask /health; exits 200; is /status ok
ask /; exits 200; out_has "<!doctype html>"; check "it may load nothing" grep -qi "^Content-Security-Policy: default-src 'none'" "$work/head"
ask /plan; exits 200; is /devices/0/name cpu; is /slots 3
ask /v1/models; exits 200; is /data/0/id v4-mini
ask /v1/models/v4-mini; exits 200; ask /v1/models/other; exits 404

# One answer, in all its forms.
ask $chats "$capital"; exits 200; out_has Paris; is /choices/0/finish_reason stop; is /choices/0/message/role assistant
answer=$(value /choices/0/message/content) tokens=$(value /usage/completion_tokens) prompt=$(value /usage/prompt_tokens)
ask $chats "$(chat 'What is the capital of France?' '"stream":true,"stream_options":{"include_usage":true}')"
exits 200
check "the end of the stream" [ "$(tail -n 2 "$work/out" | head -n 1)" = 'data: [DONE]' ]
check "the same text" [ "$(deltas content)" = "$answer" ]
check "usage of a stream" grep -q "\"choices\":\[\],\"usage\":{\"prompt_tokens\":$prompt,\"completion_tokens\":$tokens" "$work/out"
check "of it alone" [ "$(grep -c '"usage":{' "$work/out")" = 1 ]
ask $chats "$(chat 'What is the capital of France?' '"n":2,"stream":true')"
check "usage with the last choice where nobody asks for it" [ "$(grep -c '"usage":' "$work/out")" = 1 ]
check "the last one" grep -q '"index":1.*"finish_reason":"stop".*"usage":{"prompt_tokens"' <<<"$(grep '"usage":' "$work/out")"
ask $chats "$(chat 'What is the capital of France?' '"n":2')"; exits 200
check "what answered" grep -q '"system_fingerprint":"fp_[0-9a-f]\{16\}"' "$work/out"
check "two choices, the same at temperature 0" [ "$(value /choices/1/message/content)" = "$answer" ]
ask $chats "$(chat 'What is the capital of France?' '"max_tokens":2')"; is /choices/0/finish_reason length; is /usage/completion_tokens 2
ask $chats "$(chat 'What is the capital of France?' '"stop":["Par"]')"; is /choices/0/finish_reason stop
check "what stops is not shown" [ "$(value /choices/0/message/content)" = "${answer%%Par*}" ]

# Log-probabilities: one entry for each token, the same when streamed; at temperature 0 the token is the likeliest.
told() { # KIND, of a chat: the tokens that the log-probabilities are of
  perl -MJSON::PP -0777 -ne 'binmode STDOUT, ":utf8"; s/^data: \[DONE\]//mg; s/^data: //mg;
    for my $c (map { @{$_->{choices}} } JSON::PP->new->incr_parse($_)) { for my $l (@{($c->{logprobs} // {})->{$ENV{kind}} // []}) {
      die if $l->{token} ne $l->{top_logprobs}[0]{token} or $l->{logprob} > 0 or @{$l->{top_logprobs}} != 3; print $l->{token} } }' "$work/out"
}
logprobs='"logprobs":true,"top_logprobs":3'
ask $chats "$(chat 'What is the capital of France?' "$logprobs")"; exits 200
check "log-probabilities of the text" [ "$(kind=content told)" = "$answer" ]; is /choices/0/logprobs/content/0/bytes/0 84
ask $chats "$(chat 'What is the capital of France?' "$logprobs,\"stream\":true")"
check "the same, streamed" [ "$(kind=content told)" = "$answer" ]
ask $chats '{"messages":[{"role":"user","content":"Hi"}],"top_k":1,"temperature":1,"max_tokens":5,'"$logprobs}"
check "of reasoning, too" [ "$(kind=reasoning_content told)" = "$(value /choices/0/message/reasoning_content)" ]
ask /v1/completions '{"prompt":"def f(","temperature":0,"max_tokens":3,"logprobs":2}'; exits 200
is /choices/0/logprobs/text_offset/0 0; check "the first token" [ -n "$(value /choices/0/logprobs/tokens/0)" ]
check "its logarithm" [ "$(value /choices/0/logprobs/token_logprobs/2 | cut -c 1)" = - ]
# Those of a prompt are those that its tokens had when they were made.
ask /v1/completions '{"prompt":"def f(","temperature":0,"max_tokens":6,"logprobs":1}'; made=$(value /choices/0/logprobs/token_logprobs)
text=$("$json_value" "$work/out" /choices/0/text; echo .); text=${text%??}
printf '%s' "def f($text" | perl -MJSON::PP -0777 -ne 'print encode_json({prompt => $_, echo => JSON::PP::true, logprobs => 1, max_tokens => 0})' >"$work/echo"
ask /v1/completions "@$work/echo"; exits 200; is /usage/completion_tokens 0; read -ra told <<<"$(value /choices/0/logprobs/token_logprobs)"
check "log-probabilities of a prompt" [ "${told[*]: -6} " = "$made" ]
ask /v1/completions '{"prompt":[0,5,6],"echo":true,"logprobs":1,"max_tokens":1,"temperature":0}'; exits 200; is /choices/0/logprobs/token_logprobs/0 null
check "each token of it" [ "$(value /choices/0/logprobs/tokens | wc -w)" = 4 ]
ask $chats "$(chat hi '"top_logprobs":3')"; exits 400; out_has 'needs \"logprobs\": true'

# Reasoning is apart from the answer.
ask $chats '{"messages":[{"role":"user","content":"What is the capital of France?"}],"seed":3}'
exits 200; check "there is reasoning" [ -n "$(value /choices/0/message/reasoning_content)" ]
check "reasoning is counted" [ "$(value /usage/completion_tokens_details/reasoning_tokens)" -gt 0 ]
reasoning=$(value /choices/0/message/reasoning_content)
ask $chats '{"messages":[{"role":"user","content":"What is the capital of France?"}],"seed":3,"stream":true}'
check "the same reasoning" [ "$(deltas reasoning_content)" = "$reasoning" ]

# After a hit of the cache, and among others: the same.
long=$(printf 'tiger garden violin %.0s' {1..60})
long_ask=$(chat "Repeat after me: $long" '"max_tokens":12')
ask $chats "$long_ask"; exits 200; is /usage/prompt_cache_hit_tokens 0
alone=$(value /choices/0/message/content)
ask $chats "$long_ask"; check "a hit" [ "$(value /usage/prompt_cache_hit_tokens)" -gt 100 ]
check "the same after a hit" [ "$(value /choices/0/message/content)" = "$alone" ]
ask $chats "$(chat "Repeat after me: $long" '"max_tokens":12,"user_id":"somebody"')"; is /usage/prompt_cache_hit_tokens 0
for i in 1 2 3; do
  curl -s -m 60 -o "$work/together.$i" -H 'Content-Type: application/json' -d "$capital" "http://127.0.0.1:$port$chats" &
  jobs[i]=$!
done
wait "${jobs[@]}"
for i in 1 2 3; do
  check "the same among others" [ "$("$json_value" "$work/together.$i" /choices/0/message/content)" = "$answer" ]
done

# Text goes on; the middle is filled in.
ask /v1/completions '{"prompt":"def factorial(n):","temperature":0,"max_tokens":8,"echo":true}'
exits 200; out_has 'def factorial(n):'; is /object text_completion
ask /beta/completions '{"prompt":"def f(","suffix":"return 1","temperature":0,"max_tokens":4}'; exits 200

# Tools: a call that has to be, whole and streamed, and the answer after its result; none where none may be.
weather='{"name":"get_weather","description":"The weather.","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}'
tools="\"tools\":[{\"type\":\"function\",\"function\":$weather}]"
named="$tools,\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"get_weather\"}}"
ask $chats "$(chat 'What is the weather in Paris?' "$named")"; exits 200
is /choices/0/message/tool_calls/0/function/name get_weather; is /choices/0/finish_reason tool_calls
value /choices/0/message/tool_calls/0/function/arguments >"$work/arguments"
check "arguments are JSON" "$json_value" "$work/arguments" ''
ask $chats "$(chat 'What is the weather in Paris?' "$named,\"stream\":true")"; exits 200; out_has '"finish_reason":"tool_calls"'
check "the same call" [ "$(sed -n 's/^data: {/{/p' "$work/out" | perl -MJSON::PP -ne 'for my $t (@{(decode_json($_)->{choices}[0] // {})->{delta}{tool_calls} // []}) {
    print $t->{function}{arguments} }')" = "$(cat "$work/arguments")" ]
ask $chats '{"messages":[{"role":"user","content":"What is the weather in Paris?"},{"role":"assistant","content":"",
  "tool_calls":[{"id":"1","type":"function","function":{"name":"get_weather","arguments":"{}"}}]},
  {"role":"tool","tool_call_id":"1","content":"sunny"}],"temperature":0,"thinking":{"type":"disabled"},'"$tools}"; exits 200
ask $chats "$(chat 'What is the weather in Paris?' "$tools,\"tool_choice\":\"none\"")"; exits 200
check "no call" [ -z "$(grep tool_calls "$work/out")" ]
ask $chats '{"messages":[{"role":"user","content":"hi"}],'"$named}"; exits 400; out_has "Thinking mode does not support this tool_choice"
ask $chats "$(chat hi "$tools,\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"other\"}}")"; exits 400; out_has "none of the tools"
# What has to be called is one of them, though the model would call get_weather.
ask $chats "$(chat 'What is the weather in Paris?' "${tools//get_weather/travel},\"tool_choice\":\"required\"")"; exits 200
is /choices/0/message/tool_calls/0/function/name travel; is /choices/0/finish_reason tool_calls

# Answers that have to be JSON: of any kind, of a schema, streamed, after reasoning; and calls whose arguments have to be right.
schema='{"type":"object","properties":{"city":{"enum":["Oslo","Rome"]},"people":{"type":"integer","minimum":1,"maximum":20}},"required":["city","people"],"additionalProperties":false}'
by_schema="\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"schema\":$schema}}"
fits() { # TEXT: it is of the schema
  check "a city and a number of people: $1" grep -qP '^\{\s*"city"\s*:\s*"(Oslo|Rome)"\s*,\s*"people"\s*:\s*(1?[1-9]|[12]0)\s*\}$' <<<"$(tr -d '\n' <<<"$1")"
}
ask $chats "$(chat 'Name a city.' "$by_schema")"; exits 200; is /choices/0/finish_reason stop; fits "$(value /choices/0/message/content)"
told=$(value /choices/0/message/content)
ask $chats "$(chat 'Name a city.' "$by_schema,\"stream\":true")"; check "the same, streamed" [ "$(deltas content)" = "$told" ]
ask $chats '{"messages":[{"role":"user","content":"Name a city."}],"seed":2,'"$by_schema}"; exits 200
fits "$(value /choices/0/message/content)"; check "after reasoning" [ -n "$(value /choices/0/message/reasoning_content)" ]
ask $chats '{"messages":[{"role":"user","content":"Name a city."}],"thinking":{"type":"disabled"},"temperature":1.5,"n":3,'"$by_schema}"
for i in 0 1 2; do fits "$(value /choices/$i/message/content)"; done
ask $chats "$(chat 'Say something.' '"response_format":{"type":"json_object"},"max_tokens":2000')"; exits 200
value /choices/0/message/content >"$work/said"; check "an object" "$json_value" "$work/said" ''
ask $chats "$(chat hi '"response_format":{"type":"json_schema","json_schema":{"schema":{"type":"string","not":{}}}}')"
exits 400; out_has 'response_format.json_schema.schema: the keyword \"not\" is not supported'
ask $chats "$(chat hi '"response_format":{"type":"json_schema"}')"; exits 400; out_has "json_schema is missing"
strict="{\"type\":\"function\",\"function\":{\"name\":\"travel\",\"strict\":true,\"parameters\":$schema}}"
ask $chats '{"messages":[{"role":"user","content":"What is the weather in Paris?"}],"thinking":{"type":"disabled"},"temperature":1.5,"seed":1,"tools":['"$strict],\"tool_choice\":\"required\"}"
exits 200; is /choices/0/message/tool_calls/0/function/name travel; fits "$(value /choices/0/message/tool_calls/0/function/arguments)"
ask $chats "$(chat hi "\"tools\":[${strict/,\"people\"]/]}]")"; exits 400
out_has 'the tool travel is strict, and tools[0].function.parameters does not list the property people in \"required\"'
ask $chats "$(chat hi "\"tools\":[${strict/,\"additionalProperties\":false/}]")"; exits 400
out_has 'the tool travel is strict, and tools[0].function.parameters lacks \"additionalProperties\": false'
inner='{"type":"object","properties":{"a":{"type":["null","object"]}},"required":["a"],"additionalProperties":false}'
ask $chats "$(chat hi "\"tools\":[${strict%%\"parameters\"*}\"parameters\":$inner}}]")"; exits 400; out_has 'parameters.properties.a lacks'
ask $chats "$(chat hi "\"tools\":[${strict/\"type\":\"object\",/}]")"; exits 200
ask /v1/messages '{"max_tokens":200,"messages":[{"role":"user","content":"Name a city."}],"temperature":1.5,"thinking":{"type":"disabled"},"output_config":{"format":{"type":"json_schema","schema":'"$schema}}}"
exits 200; fits "$(value /content/0/text)"

# An answer that was begun goes on, its text or its reasoning.
begun() { printf '{"messages":[{"role":"user","content":"What is the capital of France?"},{"role":"assistant","prefix":true,%s}],"temperature":0,"top_k":1%s}' "$1" "${2-}"; }
ask $chats "$(begun '"content":"The capital of"')"; exits 200; is /choices/0/message/content "${answer#The capital of}"
ask /beta/chat/completions "$(begun '"content":"The capital of","reasoning_content":"France: Paris."')"; exits 200
check "only content" [ -z "$(grep reasoning_content "$work/out")" ]
ask $chats "$(begun '"content":"","reasoning_content":"The user asks"')"; exits 200; check "reasoning goes on" [ -n "$(value /choices/0/message/reasoning_content)" ]
ask $chats "$(begun '"content":"{\"city\": \"R"' ",$by_schema")"; exits 200; fits "{\"city\": \"R$(value /choices/0/message/content)"
ask $chats "$(begun '"content":"Rome"' ",$by_schema")"; exits 400; out_has "begins with is not what its schema allows"
ask $chats '{"messages":[{"role":"user","prefix":true,"content":"x"}]}'; exits 400; out_has "messages[0].prefix is true"

# OpenAI's Responses.
respond() { printf '{"input":"What is the capital of France?","temperature":0,"reasoning":{"effort":"none"}%s}' "${1:+,$1}"; }
ask /v1/responses "$(respond)"; exits 200; is /output/0/content/0/text "$answer"; is /status completed; is /usage/output_tokens "$tokens"
ask /v1/responses "$(respond '"stream":true')"; exits 200
check "events of responses" [ "$(grep -oP '^event: response.\K.*' "$work/out" | uniq | tr '\n' ' ')" = "created in_progress output_item.added \
content_part.added output_text.delta output_text.done content_part.done output_item.done completed " ]
ask /v1/responses "$(respond '"max_output_tokens":2')"; is /status incomplete; is /incomplete_details/reason max_output_tokens
travel="{\"type\":\"function\",\"name\":\"travel\",\"strict\":true,\"parameters\":$schema}"
ask /v1/responses "$(respond "\"tools\":[$travel],\"tool_choice\":\"required\"")"; exits 200; is /output/0/name travel; fits "$(value /output/0/arguments)"
ask /v1/responses "$(respond "\"stream\":true,\"tools\":[$travel],\"tool_choice\":{\"type\":\"function\",\"name\":\"travel\"}")"
check "events of a call" [ "$(grep -oP '^event: response.\K.*' "$work/out" | uniq | tr '\n' ' ')" = "created in_progress output_item.added \
function_call_arguments.delta function_call_arguments.done output_item.done completed " ]
ask /v1/responses '{"input":[{"role":"user","content":[{"type":"input_text","text":"What is the weather in Paris?"}]},{"type":"reasoning","id":"r",
  "summary":[],"content":[{"type":"reasoning_text","text":"Ask."}]},{"type":"function_call","call_id":"1","name":"get_weather","arguments":"{}"},
  {"type":"function_call_output","call_id":"1","output":"sunny"}],"temperature":0,"tools":['"$travel]}"; exits 200
ask /v1/responses "$(respond '"previous_response_id":"x"')"; exits 400; out_has "no responses are kept here"

# Anthropic's API says the same in its own words.
messages=/v1/messages
message() { # MEMBERS
  printf '{"max_tokens":64,"messages":[{"role":"user","content":"What is the capital of France?"}],"temperature":0,"thinking":{"type":"disabled"}%s}' "${1:+,$1}"
}
ask $messages "$(message)"; exits 200; is /content/0/text "$answer"; is /stop_reason end_turn; is /usage/output_tokens "$tokens"
ask $messages "$(message '"stream":true')"; exits 200
check "the events in order" [ "$(grep -oP '^event: \K.*' "$work/out" | grep -v ping | uniq | tr '\n' ' ')" = \
  "message_start content_block_start content_block_delta content_block_stop message_delta message_stop " ]
ask $messages "$(message '"stop_sequences":["Par"]')"; is /stop_reason stop_sequence; is /stop_sequence Par
ask $messages/count_tokens "$(message)"; exits 200; is /input_tokens "$prompt"
ask "/anthropic$messages" "$(message "\"tools\":[${weather/parameters/input_schema}],\"tool_choice\":{\"type\":\"tool\",\"name\":\"get_weather\"}")"
exits 200; is /content/0/type tool_use; is /stop_reason tool_use
# Reasoning is signed by what it says, streamed or not; any signature may come back with it.
reasoned() { printf '{"max_tokens":%s,"messages":[{"role":"user","content":"What is the capital of France?"}],"seed":3%s}' "$@"; }
ask $messages "$(reasoned 300)"; exits 200; signed=$(value /content/0/signature)
check "a hash" grep -qP '^[0-9a-f]{32}$' <<<"$signed"
ask $messages "$(reasoned 300 ',"stream":true')"; check "the same, streamed" grep -q "\"signature\":\"$signed\"" "$work/out"
ask $messages "$(reasoned 2)"; check "another, of other reasoning" [ "$(value /content/0/signature)" != "$signed" ]
ask $messages/count_tokens '{"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"thinking","thinking":"Hm.",
  "signature":"of another server"},{"type":"text","text":"x"}]},{"role":"user","content":"go on"}]}'; exits 200
ask $messages '{"messages":[]}'; exits 400; is /type error; is /error/type invalid_request_error

# What is refused, and why.
refused() { exits "$1"; out_has "$2"; out_has error; }
ask /nowhere; refused 404 "no such route"
ask $chats '{'; refused 400 "not valid JSON"
ask $chats '[]'; refused 400 "not an object"
ask $chats '{"messages":[]}'; refused 400 "asks for no answer"
ask $chats '{"messages":[{"role":"user","content":3}]}'; refused 400 "messages[0].content is 3"
ask $chats '{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}'; refused 400 "reads text only"
ask $chats "$(chat hi '"temperature":7')"; refused 400 "temperature is 7, not a number from 0 to 2"
ask $chats "$(chat hi '"top_p":0')"; refused 400 "top_p is 0, not a number from 1e-06 to 1"
for id in '""' '"a b"' "\"$(printf 'a%.0s' {1..513})\""; do
  ask $chats "$(chat hi "\"user_id\":$id")"; refused 400 "not a name of 1 to 512 letters, digits, _ and -"
done
ask $chats "$(chat hi "\"max_tokens\":1,\"user_id\":\"$(printf 'a-Z_0123%.0s' {1..64})\"")"; exits 200
ask $chats "$(chat hi '"max_tokens":1,"user":"somebody@example.com"')"; exits 200
ask $chats "$(chat hi '"stop":[""]')"; refused 400 "an empty string"
ask $chats "$(chat hi '"response_format":{"type":"xml"}')"; refused 400 "response_format.type is"
ask $chats "$(chat hi '"max_tokens":-1')"; refused 400 "max_tokens is -1"
ask $chats "$(printf '[%.0s' {1..9000})"; refused 400 "nested deeper"
type=text/plain; ask $chats "$capital"; refused 415 "application/json"; type=application/json
ask $chats "$capital" -H 'Host: elsewhere.example'; refused 403 "localhost only"
ask $chats "$capital" -H 'Content-Length: 99999999999'; refused 413 "too large"
ask "/$(printf 'a%.0s' {1..2000})"; refused 414 "path"
ask /health '' -H "X-Long: $(printf 'a%.0s' {1..20000})"; refused 431 "head"
ask $chats "$(chat "$(printf 'word %.0s' {1..9000})")"; refused 400 "the context holds 4096"
printf 'GET /health HTTP/1.1\r\nno colon\r\n\r\n' | timeout 10 bash -c "exec 3<>/dev/tcp/127.0.0.1/$port; cat >&3; cat <&3" >"$work/out"
out_has "HTTP/1.1 "

stop_server 0

# A client that leaves takes its answer with it; those that wait beyond the queue are told to come back.
start_server --parallel 3 --queue 2 --context 262144
endless='{"prompt":"def f(x):","temperature":0,"stream":true}'
jobs=()
more_until() {  # COUNT LINE: so many requests more, until /metrics has that line
  for _ in $(seq "$1"); do
    curl -s -N -m 60 -o "$work/long.${#jobs[@]}" -H 'Content-Type: application/json' -d "$endless" "http://127.0.0.1:$port/v1/completions" &
    jobs+=($!)
  done
  for _ in $(seq 1000); do
    ask /metrics; grep -q "^$2" "$work/out" && break; sleep 0.05
  done
}
more_until 3 "v4rt_sequences_running 3"
more_until 2 "v4rt_sequences_waiting 2"
exits 200; out_has "v4rt_sequences_running 3"; out_has "v4rt_sequences_waiting 2"
ask $chats "$capital"; refused 429 "try again later"; check "it says when" grep -qi '^Retry-After: ' "$work/head"
kill "${jobs[@]}"; wait "${jobs[@]}" 2>/dev/null
for _ in $(seq 1000); do
  ask /metrics; grep -q '^v4rt_sequences_running 0' "$work/out" && break; sleep 0.05
done
out_has "v4rt_sequences_running 0"; out_has "v4rt_sequences_waiting 0"
ask $chats "$capital"; exits 200; check "the same after that" [ "$(value /choices/0/message/content)" = "$answer" ]
# More connections that say nothing than requests are served at once.
idle=()
for _ in $(seq 300); do exec {fd}<>"/dev/tcp/127.0.0.1/$port" && idle+=("$fd"); done
ask $chats "$capital" -m 60; exits 200
for fd in "${idle[@]}"; do exec {fd}>&-; done

# What is under way at SIGTERM is answered.
curl -s -m 60 -o "$work/last" -H 'Content-Type: application/json' -d "$(chat "$long" '"max_tokens":100')" "http://127.0.0.1:$port$chats" &
last=$!
for _ in $(seq 100); do ask /metrics; grep -q '^v4rt_sequences_running 1' "$work/out" && break; sleep 0.02; done
stop_server 0
wait $last
check "the last answer is whole" grep -q finish_reason "$work/last"
check "no text of a prompt in the log" [ -z "$(grep -iE 'france|tiger' "$work/log")" ]

# With a key; and with a cache on disk, which the next server finds.
echo secret >"$work/keys"
start_server --api-key-file "$work/keys" --prefix-cache "$work/prefixes" --max-body 4KiB
ask /health; exits 200
ask $chats "$capital"; refused 401 "API key"
ask $chats "$capital" -H 'Authorization: Bearer secrets'; refused 401 "API key"
ask $chats "$capital" -H 'Authorization: Bearer secret'; exits 200
ask $chats "$long_ask" -H 'x-api-key: secret'; is /usage/prompt_cache_hit_tokens 0
kill -KILL $server; wait $server 2>/dev/null; server=
start_server --api-key-file "$work/keys" --prefix-cache "$work/prefixes" --max-body 4KiB --request-seconds 1
ask $chats "$long_ask" -H 'x-api-key: secret'; check "a hit" [ "$(value /usage/prompt_cache_hit_tokens)" -gt 100 ]
check "the same from disk" [ "$(value /choices/0/message/content)" = "$alone" ]
ask $chats "$(chat "$(printf 'word %.0s' {1..1000})")" -H 'x-api-key: secret' -H 'Transfer-Encoding: chunked'; refused 413 "too large"
# One that sends its request too slowly loses its connection, and nobody else waits for it.
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\nx-api-key: secret\r\n\r\n{' $chats >&3
ask /health; exits 200
timeout 10 cat <&3 >"$work/out"; exec 3>&-
out_has "HTTP/1.1 400"; out_has "too slowly"
stop_server 0

printf 'parallel = 2\nport = 1\nquiet = true\nname = "tiny"\n' >"$work/config"
start_server --config "$work/config" --op-times
ask $chats "$capital"; is /choices/0/message/content "$answer"
ask /metrics; check "time of an op" grep -qP '^v4rt_op_seconds_total{device="cpu",op="linear"} (?!0$)[0-9.e-]+$' "$work/out"
ask /v1/models; is /data/0/id tiny; check "no log" [ -z "$(grep event "$work/log")" ]
effort='{"messages":[{"role":"user","content":"hi"}],"max_tokens":1,"reasoning_effort":'
warned() { check "$1 warnings" [ "$(grep -c 'effort max.* 4096 tokens: 393216 are' "$work/log")" = "$1" ]; }
ask $chats "$effort\"high\"}"; exits 200; warned 0
for _ in 1 2; do ask $chats "$effort\"max\"}"; exits 200; warned 1; done
stop_server 0

# Texts in the log where they are asked for; and reasoning of agents.
think="{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":1,$tools"
start_server --log-text --agent-effort max; warned 1
ask $chats "$capital"; for text in asked France answer Paris; do check "$text in the log" grep -q "$text" "$work/log"; done
ask $chats "$think}"; exits 200; most=$(value /usage/prompt_tokens)
ask $chats "$think,\"reasoning_effort\":\"max\"}"; is /usage/prompt_tokens "$most"
ask $chats "$think,\"reasoning_effort\":\"high\"}"; check "less where less is asked for" [ "$(value /usage/prompt_tokens)" -lt "$most" ]
stop_server 0
echo 'speed = 3' >"$work/config"; call serve mini --config "$work/config"; refuses 2 "serve has no option speed"
echo 'port = 70000' >"$work/config"; call serve mini --config "$work/config"; refuses 2 "70000"
call serve mini --host 203.0.113.1; refuses 1 "cannot listen at 203.0.113.1"
call serve mini --api-key-file "$work/none"; refuses 1 "$work/none"
finish
