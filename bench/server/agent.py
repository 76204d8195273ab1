"""The session of a coding agent: a long system prompt, then turns that each call a tool. The first token of each turn
is timed; those after the first should find all but the new part of the prompt in the cache.

agent.py URL [--system 8000] [--turns 20]
"""

import argparse
import http.client
import json
import time
import urllib.parse

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("url")
parser.add_argument("--system", type=int, default=8000, help="tokens of the system prompt, about")
parser.add_argument("--turns", type=int, default=20)
args = parser.parse_args()
place = urllib.parse.urlparse(args.url)

tool = {"type": "function", "function": {"name": "read_file", "description": "Reads a file.",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}}}
messages = [{"role": "user", "content": "Find the bug in the parser."}]


def post(path, body):
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=600)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    return connection.getresponse()


def request(system):
    return {"messages": [{"role": "system", "content": system}, *messages], "tools": [tool], "thinking": {"type": "disabled"},
            "temperature": 0, "max_tokens": 1, "stream": True, "stream_options": {"include_usage": True}}


def turn(system):
    begin = time.monotonic()
    answer = post("/v1/chat/completions", request(system))
    assert answer.status == 200, answer.read()
    first, usage = None, None
    for line in answer:
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            usage = event.get("usage") or usage
            if event["choices"] and event["choices"][0]["finish_reason"] and first is None:
                first = time.monotonic() - begin  # of an answer of one token
    return first, usage


# A system prompt of the asked length, in this model's tokens.
sentence = "You are careful, and you read every file before you change it. "
counted = json.load(post("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": sentence * 100}]}))["input_tokens"]
system = f"Session {time.time()}. " + sentence * (args.system * 100 // counted)

times = []
for number in range(args.turns + 1):
    first, usage = turn(system)
    times.append(first)
    hit = usage["prompt_cache_hit_tokens"]
    print(f"turn {number + 1:2}: first token after {first * 1000:7.1f} ms, {hit} of {usage['prompt_tokens']} tokens from the cache")
    messages += [{"role": "assistant", "content": "", "tool_calls": [{"id": f"c{number}", "type": "function", "function": {
        "name": "read_file", "arguments": json.dumps({"path": f"src/file{number}.cc"})}}]},
        {"role": "tool", "tool_call_id": f"c{number}", "content": f"int f{number}() {{ return {number}; }}  // line {number}"}]
later = sorted(times[1:])
print(f"turns after the first: median {later[len(later) // 2] / times[0]:.3f}, at most {later[-1] / times[0]:.3f} of the first")
