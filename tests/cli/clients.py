"""What programs do with the server, by the clients of OpenAI and Anthropic: clients.py URL"""

import json
import sys

import anthropic
import openai

url = sys.argv[1]
client = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
claude = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)
question = [{"role": "user", "content": "What is the capital of France?"}]
plain = dict(model="v4-mini", messages=question, temperature=0, extra_body={"thinking": {"type": "disabled"}})
weather = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def same(a, b):
    assert a == b, f"{a!r} is not {b!r}"


assert client.models.list().data[0].id == "v4-mini"

answer = client.chat.completions.create(**plain)
text = answer.choices[0].message.content
assert "Paris" in text, text
same(answer.choices[0].finish_reason, "stop")
same(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)

chunks = list(client.chat.completions.create(**plain, stream=True, stream_options={"include_usage": True}))
same("".join(c.choices[0].delta.content or "" for c in chunks if c.choices), text)
same(chunks[-1].usage.completion_tokens, answer.usage.completion_tokens)
same(chunks[-2].choices[0].finish_reason, "stop")

thought = client.chat.completions.create(model="v4-mini", messages=question, seed=3)
assert thought.choices[0].message.reasoning_content
assert client.completions.create(model="v4-mini", prompt="def f(", max_tokens=4).choices[0].text

try:
    client.chat.completions.create(**{**plain, "temperature": 7})
    raise AssertionError("no error")
except openai.BadRequestError as error:
    assert "temperature" in error.message, error.message
json.loads(client.chat.completions.create(**plain, response_format={"type": "json_object"}, max_tokens=2000).choices[0].message.content)

# A call that has to be, its result, and the answer to that.
tools = [{"type": "function", "function": {"name": "get_weather", "description": "The weather.", "parameters": weather}}]
named = {"type": "function", "function": {"name": "get_weather"}}
asked = [{"role": "user", "content": "What is the weather in Paris?"}]
called = client.chat.completions.create(**{**plain, "messages": asked}, tools=tools, tool_choice=named)
message = called.choices[0].message
same(message.tool_calls[0].function.name, "get_weather")
arguments = message.tool_calls[0].function.arguments
json.loads(arguments)
chunks = client.chat.completions.create(**{**plain, "messages": asked}, tools=tools, tool_choice=named, stream=True)
streamed = [call for c in chunks for call in c.choices[0].delta.tool_calls or []]
same(streamed[0].function.name, "get_weather")
same("".join(call.function.arguments for call in streamed if call.index == 0), arguments)
result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
followed = [*asked, message.model_dump(exclude_none=True), result]
assert client.chat.completions.create(**{**plain, "messages": followed}, tools=tools).choices[0].finish_reason

# Anthropic's.
ask = dict(model="v4-mini", max_tokens=64, messages=question, thinking={"type": "disabled"}, extra_body={"temperature": 0, "seed": 3})
reply = claude.messages.create(**ask)
same(reply.content[0].text, text)
same(reply.stop_reason, "end_turn")
with claude.messages.stream(**ask) as stream:
    same("".join(stream.text_stream), text)
    same(stream.get_final_message().usage.output_tokens, reply.usage.output_tokens)
counted = claude.messages.count_tokens(model="v4-mini", messages=question, thinking={"type": "disabled"})
same(counted.input_tokens, reply.usage.input_tokens + reply.usage.cache_read_input_tokens)
same(claude.messages.create(**{**ask, "stop_sequences": ["Par"]}).stop_sequence, "Par")
assert claude.messages.create(**{**ask, "thinking": {"type": "adaptive"}}).content[0].type == "thinking"
use = claude.messages.create(
    **{**ask, "messages": asked},
    tools=[{"name": "get_weather", "description": "The weather.", "input_schema": weather}],
    tool_choice={"type": "tool", "name": "get_weather"},
)
same(use.content[0].type, "tool_use")
same(use.content[0].input, json.loads(arguments))
back = {"type": "tool_result", "tool_use_id": use.content[0].id, "content": "sunny"}
turns = [*asked, {"role": "assistant", "content": use.content}, {"role": "user", "content": [back]}]
assert claude.messages.create(**{**ask, "messages": turns}).stop_reason
try:
    claude.messages.create(**{**ask, "extra_body": {"temperature": 7}})
    raise AssertionError("no error")
except anthropic.BadRequestError as error:
    same(error.body["error"]["type"], "invalid_request_error")

print("all is well")
