"""An answer does not depend on what else is answered, nor on what was kept: same_answers.py URL FILE

Asks for answers of many kinds alone, among 63 others and after a hit of the cache. FILE keeps them for the next server,
whose answers have to be the same."""

import concurrent.futures
import json
import os
import random
import sys
import urllib.request

url, kept = sys.argv[1:]
WORDS = "tiger garden violin river stone winter lamp bread ocean paper".split()
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}, "people": {"type": "integer"}},
          "required": ["city", "people"], "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "The weather.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}}
PLAIN = {"thinking": {"type": "disabled"}}
KINDS = [{**PLAIN, "temperature": 0}, {"seed": 1}, {**PLAIN, "seed": 2, "temperature": 1.5}, {**PLAIN, "temperature": 0, "tools": [TOOL]},
         {**PLAIN, "seed": 3, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
         {**PLAIN, "seed": 4, "temperature": 1, "top_p": 0.9, "stop": ["e "], "n": 2}, {"seed": 5, "tools": [TOOL]}]


def requests(count, seed):
    r = random.Random(seed)
    return [{"messages": [{"role": "user", "content": f"Repeat after me: {' '.join(r.choices(WORDS, k=r.randint(90, 150)))}"}],
             "max_tokens": 40, "logprobs": True, "top_logprobs": 2, **KINDS[i % len(KINDS)]} for i in range(count)]


def ask(body, user):
    """What was answered, and how many tokens of the prompt the cache had."""
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps({**body, "user_id": user}).encode(), {"Content-Type": "application/json"})
    answer = json.load(urllib.request.urlopen(request, timeout=120))
    for choice in answer["choices"]:
        for call in choice["message"].get("tool_calls", []):
            call["id"] = ""
    return answer["choices"], answer["usage"]["prompt_cache_hit_tokens"]


mine, others = requests(14, "mine"), requests(50, "others")
users = [f"user-{i}" for i in range(64)]  # whose caches are their own
alone = [ask(one, user) for one, user in zip(mine, users)]
assert not any(hit for _, hit in alone), "a hit of an empty cache"
with concurrent.futures.ThreadPoolExecutor(64) as pool:
    together = list(pool.map(ask, mine + others, reversed(users)))[:len(mine)]
    again = list(pool.map(ask, mine + others, users))[:len(mine)]
assert all(hit for _, hit in again), "no hit"
assert not any(hit for _, hit in together), "a hit of somebody else's"
expected = [said for said, _ in alone]
if os.path.exists(kept):
    with open(kept) as file:
        assert json.load(file) == expected, "another server answered otherwise"
for name, answers in (("among others", together), ("after a hit", again)):
    for one, (said, _), (wanted, _) in zip(mine, answers, alone):
        assert said == wanted, (name, one, said, wanted)
with open(kept, "w") as file:
    json.dump(expected, file)
print("all is well")
