"""Random JSON schemas, and what the model says under each at a high temperature: schemas.py URL COUNT"""

import concurrent.futures
import json
import random
import re
import sys
import urllib.request

import jsonschema

url, count = sys.argv[1], int(sys.argv[2])
LETTERS = "abcxyz_éß中"


def name(r):
    return "".join(r.choice(LETTERS) for _ in range(r.randint(1, 4)))


def leaf(r):
    low, high = sorted(r.sample(range(-1200, 1200), 2))
    least, more = r.randint(0, 3), r.randint(0, 8)
    return r.choice([
        {"type": "string", "maxLength": more + 1},
        {"type": "string", "minLength": least, "maxLength": least + more},
        {"type": "integer"}, {"type": "integer", "minimum": low, "maximum": high}, {"type": "integer", "exclusiveMaximum": high},
        {"type": "number"}, {"type": "number", "exclusiveMinimum": low, "maximum": high + 0.5}, {"type": ["number", "null"], "minimum": 0},
        {"type": "boolean"}, {"type": "null"}, {"const": r.choice([name(r), 7, None, {"a": [1, "b"]}])},
        {"enum": [name(r), name(r) + '"\n', r.randint(-9, 9), None][: r.randint(1, 4)]},
        {"type": ["string", "boolean"], "maxLength": 5, "description": "either"},
        {"type": "string", "pattern": r.choice(["^[a-f]{2,5}$", "^(ab|c?d)*[^x]{1,3}$", r"^\w+-\d{1,4}\.?$", '^\\"?[é€a-z]{1,4}$'])},
        {"type": "string", "format": r.choice(["date", "time", "date-time", "uuid", "email", "ipv4"])},
    ])


def schema(r, depth):
    kind = r.random()
    if depth == 0 or kind < 0.25:
        return leaf(r)
    if kind < 0.45:
        least = r.randint(0, 2)
        array = {"type": "array", "items": schema(r, depth - 1), "minItems": least, "maxItems": least + r.randint(0, 2)}
        if r.random() < 0.2:
            array["prefixItems"] = [leaf(r)]
        return array
    if kind < 0.55:
        return {"anyOf": [schema(r, depth - 1) for _ in range(r.randint(1, 3))]}
    if kind < 0.62:
        return {"$ref": r.choice(["#/$defs/leaf", "#/$defs/list"])}
    properties = {name(r): schema(r, depth - 1) for _ in range(r.randint(0, 4))}
    made = {"type": "object", "properties": properties, "required": [key for key in properties if r.random() < 0.6],
            "additionalProperties": False}
    if r.random() < 0.1:
        made["additionalProperties"] = {"type": "integer", "minimum": 0, "maximum": 9}
    return made


def whole_schema(r):
    listed = {"type": "object", "properties": {"v": {"type": "integer", "minimum": 0, "maximum": 99},
                                               "n": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/list"}]}},
              "required": ["v", "n"], "additionalProperties": False}
    return {**schema(r, 3), "$defs": {"leaf": leaf(r), "list": listed}}


def said(number):
    made = whole_schema(random.Random(number))
    body = {"messages": [{"role": "user", "content": "Say something."}], "thinking": {"type": "disabled"}, "temperature": 1.5,
            "seed": number, "max_tokens": 3000, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": made}}}
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        choice = json.load(answer)["choices"][0]
    text = choice["message"]["content"]
    outside = re.sub(r'"(\\.|[^"\\])*"?', "s", text)  # of strings
    assert not re.search(r"\s{22}", outside), f"white space: {text!r}"
    assert choice["finish_reason"] == "stop", f"cut: {text!r}"
    try:
        jsonschema.Draft202012Validator(made).validate(json.loads(text))
    except ValueError as error:
        raise AssertionError(f"{error}\n{json.dumps(made)}\n{text!r}")


with concurrent.futures.ThreadPoolExecutor(32) as pool:
    list(pool.map(said, range(count)))
print(f"{count} answers are whole and valid")
