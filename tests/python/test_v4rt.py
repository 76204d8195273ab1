"""The Python package, as it is installed."""

import asyncio
import json
import os
import pathlib
import pickle
import re
import resource
import subprocess
import sys
import threading
import urllib.request

import numpy as np
import pytest
import v4rt

GOLDEN = json.loads(pathlib.Path(v4rt.mini(), "golden", "text.json").read_text())["greedy"][0]
PROMPT, ANSWER = GOLDEN["prompt_ids"], GOLDEN["ids"][:-1]  # without the end token


def test_opencl_programs_are_compiled_by_other_processes(tmp_path):
    if not any(device["name"].startswith("opencl") for device in v4rt.devices()["devices"]):
        pytest.skip("no OpenCL device")

    def seconds_of_children():
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime

    before = seconds_of_children()
    on_opencl = v4rt.Model(v4rt.mini(), device="opencl", context=512, chunk=8, plain=True, cache_dir=tmp_path)
    assert seconds_of_children() > before
    assert list(v4rt.Session(on_opencl).generate(PROMPT)) == ANSWER


@pytest.fixture(scope="module")
def model():
    return v4rt.Model(v4rt.mini(), context=512, chunk=8, plain=True)


@pytest.fixture
def session(model):
    return v4rt.Session(model)


def test_golden_tokens(model, session):
    tokenizer = v4rt.Tokenizer(v4rt.mini())
    prompt = tokenizer.encode("def factorial(n):\n    ", bos=model.bos_token)
    assert prompt.dtype == np.int32 and prompt.tolist() == PROMPT
    tokens = list(session.generate(prompt))
    assert tokens == ANSWER
    assert session.position == len(PROMPT) + len(ANSWER)
    assert tokenizer.decode(tokens) == GOLDEN["text"].removesuffix("<｜end▁of▁sentence｜>")
    assert b"".join(map(tokenizer.token, tokens)).decode() == tokenizer.decode(tokens)


def test_generate_leaves_every_token_in_the_state(model, session):
    for n, token in enumerate(session.generate(PROMPT), 1):
        if n == 3:
            break
    assert session.position == len(PROMPT) + 3
    rest = list(session.generate(ANSWER[3:4]))
    assert rest == ANSWER[4:]


def test_asyncio(session, ticking):
    async def collect():
        async with ticking() as ticks:
            return [token async for token in session.generate_async(PROMPT, max_tokens=10)], len(ticks)

    tokens, ticks = asyncio.run(collect())
    assert tokens == ANSWER[:10]
    assert ticks > 10


def test_feed_score_and_restore_agree(model, session):
    logits = session.feed(PROMPT)
    assert logits.shape == (model.vocab_size,) and logits.dtype == np.float32
    kept = logits.copy()
    snapshot = session.snapshot()
    session.feed(ANSWER[:1])
    assert np.array_equal(logits, kept)  # an array of its own
    session.reset()
    rows, mtp = session.score(PROMPT)
    assert rows.shape == (len(PROMPT), model.vocab_size) and mtp is None
    assert np.array_equal(rows[-1], kept)
    other = v4rt.Session(model)
    other.restore(snapshot)
    assert other.position == len(PROMPT)
    assert np.array_equal(other.feed(ANSWER[:1]), session.feed(ANSWER[:1]))


def test_sequences():
    model = v4rt.Model(v4rt.mini(), context=64, chunk=8, slots=3, draft=2)
    session = v4rt.Session(model)
    eight = session.feed(PROMPT[:8])
    session.checkpoint()
    nine = session.feed(ANSWER[:1])
    session.truncate(8)
    assert np.array_equal(session.feed(ANSWER[:1]), nine)
    for _ in range(20):
        session.feed(ANSWER[:1])
    session.truncate(8)
    session.fork(0, 2)
    logits = session.feed_batch({2: ANSWER[:1], 1: PROMPT[:3]})
    assert logits.shape == (2, model.vocab_size) and np.array_equal(logits[0], nine)
    assert (session.position, session.position_of(1), session.position_of(2)) == (8, 3, 9)
    snapshot = pickle.loads(pickle.dumps(session.snapshot(0)))
    assert bytes(snapshot) == bytes(session.snapshot(0))
    session.restore(snapshot, slot=1)
    assert np.array_equal(session.feed(ANSWER[:1], slot=1), nine)
    assert len(session.draft(ANSWER[1], 2, slot=1)) == 2
    assert list(session.generate(ANSWER[1:2], slot=2, max_tokens=3)) == list(session.generate(ANSWER[1:2], slot=1, max_tokens=3))
    session.reset(1)
    assert np.array_equal(session.feed(PROMPT[:8], slot=1), eight)
    with pytest.raises(v4rt.Error, match="-1"):
        session.fork(0, -1)
    with pytest.raises(v4rt.Error, match="snapshot"):
        v4rt.Snapshot(bytes(snapshot)[:-1])


def test_mtp():
    session = v4rt.Session(v4rt.Model(v4rt.mini(), context=64, chunk=8, mtp=True))
    rows, mtp = session.score(PROMPT)
    assert mtp.shape == (len(PROMPT) - 1, rows.shape[1]) and np.isfinite(mtp).all()


def test_arrays_of_others(session):
    class Foreign:  # an array of a library that is not NumPy
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **options):
            return self.array.__dlpack__()

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    expected = session.feed(PROMPT)
    for ids in (tuple(PROMPT), np.array(PROMPT), Foreign(np.array(PROMPT, np.int32)), np.array(PROMPT * 2)[: len(PROMPT)]):
        session.reset()
        assert np.array_equal(session.feed(ids), expected)


def test_threads_with_a_session_each(model):
    results = [None] * 4

    def work(i):
        results[i] = list(v4rt.Session(model).generate(PROMPT))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [ANSWER] * 4


def test_errors_name_what_is_wrong(model, session):
    with pytest.raises(v4rt.Error, match="/no/such/model") as caught:
        v4rt.Model("/no/such/model")
    assert caught.value.status == "not found"
    with pytest.raises(v4rt.Error, match="no_such_device"):
        v4rt.Model(v4rt.mini(), device="no_such_device")
    with pytest.raises(v4rt.Error, match="outside the vocabulary"):
        session.feed([model.vocab_size])
    with pytest.raises(ValueError, match="int32"):
        session.feed([2**31])
    with pytest.raises(TypeError, match="integers"):
        session.feed([0.5])
    with pytest.raises(TypeError):
        v4rt.Model(v4rt.mini(), no_such_option=1)
    with pytest.raises(ValueError, match="fast"):
        v4rt.Model(v4rt.mini(), fast="sometimes")
    with pytest.raises(v4rt.Error, match="memory"):
        v4rt.Model(v4rt.mini(), memory={"cpu": 1000})
    assert session.position == 0


def test_callbacks_stop_and_raise(model, session):
    seen = []
    v4rt.Model(v4rt.mini(), context=64, chunk=8, progress=lambda what, done: seen.append((what, done)))
    assert seen[-1][1] == 1
    with pytest.raises(v4rt.Error, match="stopped by the caller") as caught:
        v4rt.Model(v4rt.mini(), progress=lambda what, done: False)
    assert caught.value.status == "cancelled"

    def fail(*arguments):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        v4rt.Model(v4rt.mini(), progress=fail)
    session.on_progress(fail)
    with pytest.raises(KeyError, match="mine"):
        session.feed(PROMPT * 2)
    session.on_progress(lambda done, total: done < 8)
    session.reset()
    with pytest.raises(v4rt.Error, match="stopped by the caller"):
        session.feed(PROMPT * 2)
    assert session.position == 8
    session.on_progress(None)
    session.feed(PROMPT)


def test_reports(model):
    assert {device["name"] for device in v4rt.devices()["devices"]} >= {"reference", "cpu"}
    assert any(node["op"].startswith("attend") for node in model.explain()["nodes"])
    needed = v4rt.memory_needed(v4rt.mini(), context=512, chunk=8, plain=True)["devices"][0]
    assert needed["device"] == "cpu"
    assert model.chunk == 8
    assert needed["state_bytes"] == model.state_bytes and needed["arena_bytes"] == model.arena_bytes


def test_files_in_memory(model, session):
    folder = pathlib.Path(v4rt.mini())
    files = {"config.json": (folder / "config.json").read_bytes(),
             "model.safetensors": np.memmap(folder / "model.safetensors", mode="r")}
    other = v4rt.Session(v4rt.Model(files, context=512, chunk=8, plain=True))
    del files
    assert np.array_equal(other.feed(PROMPT), session.feed(PROMPT))
    with pytest.raises(v4rt.Error, match="config.json: was not given"):
        v4rt.Model({"model.safetensors": np.memmap(folder / "model.safetensors", mode="r")})


def test_chat():
    tokenizer = v4rt.Tokenizer(v4rt.mini())
    messages = [{"role": "user", "content": "<think>"}]
    ids = tokenizer.encode_chat(messages, thinking=True)
    think = tokenizer.encode("<think>", special=True)[0]
    assert ids.dtype == np.int32 and ids[0] == 0 and ids[-1] == think and (ids == think).sum() == 1
    assert tokenizer.decode(tokenizer.encode_chat(messages, bos=False)).startswith("<｜User｜><think>")
    with pytest.raises(v4rt.Error, match="nobody"):
        tokenizer.encode_chat([{"role": "nobody", "content": ""}])


TOOLS = [{"type": "function", "function": {"name": "now", "description": "The time, ä", "parameters": {
    "type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}}}]
TALK = [
    {"role": "user", "content": "When is it?"},
    {"role": "assistant", "content": None, "reasoning_content": "Two calls.", "tool_calls": [
        {"id": zone, "type": "function", "function": {"name": "now", "arguments": json.dumps({"zone": zone})}}
        for zone in ("UTC", "CET")]},
    {"role": "tool", "tool_call_id": "CET", "content": "14"},
    {"role": "tool", "tool_call_id": "UTC", "content": "13"},
]


def test_chat_with_tools():
    tokenizer = v4rt.Tokenizer(v4rt.mini())
    text = tokenizer.decode(tokenizer.encode_chat(TALK, tools=TOOLS))
    assert '{"name": "now", "description": "The time, ä", "parameters": {"type": "object"' in text
    assert text.index('name="zone" string="true">UTC<') < text.index('name="zone" string="true">CET<')
    assert text.index("<tool_result>13</tool_result>") < text.index("<tool_result>14</tool_result>")  # as they were called
    assert "Two calls." in tokenizer.decode(tokenizer.encode_chat(TALK, tools=TOOLS, thinking=True))
    with pytest.raises(v4rt.Error, match=r"tools\[0\].function"):
        tokenizer.encode_chat(TALK, tools=[{"type": "function"}])


def test_chat_is_what_the_server_reads():
    """The server's answers, and its count of tokens, are those of the prompts made here."""
    tokenizer = v4rt.Tokenizer(v4rt.mini())
    session = v4rt.Session(v4rt.Model(v4rt.mini(), context=4096))
    server = subprocess.Popen([sys.executable, "-m", "v4rt", "serve", "mini", "--context", "4096", "--port", "0"],
                              stderr=subprocess.PIPE, text=True)
    try:
        url = next(found for line in server.stderr if (found := re.search(r"http://[0-9.:]+", line))).group()
        for messages, tools, thinking in ((TALK[:1], [], False), (TALK, TOOLS, False), (TALK, TOOLS, True)):
            request = {"messages": messages, "tools": tools, "temperature": 0, "max_tokens": 8, "tool_choice": "none",
                       "thinking": {"type": "enabled" if thinking else "disabled"}}
            reply = json.loads(urllib.request.urlopen(urllib.request.Request(
                url + "/v1/chat/completions", json.dumps(request).encode(), {"Content-Type": "application/json"})).read())
            prompt = tokenizer.encode_chat(messages, tools=tools, thinking=thinking)
            assert reply["usage"]["prompt_tokens"] == len(prompt)
            if thinking:
                continue  # samples in any case
            marker = int(tokenizer.encode("｜DSML｜", special=True)[0])  # which the server keeps from answers without tools
            session.reset()
            tokens = session.generate(prompt, max_tokens=8, sampler=v4rt.Sampler(session.model, logit_bias={marker: -100}))
            assert reply["choices"][0]["message"]["content"] == tokenizer.decode(list(tokens))
    finally:
        server.terminate()
        server.wait()


def test_sampler_options(model, session):
    logits = session.feed(PROMPT)
    best, second = logits.argsort()[::-1][:2]
    biased = v4rt.Sampler(model, logit_bias={int(second): 100}, logprobs=2)
    assert biased.sample(logits) == second
    assert [token for token, _ in biased.logprobs] == [second, best, second]
    assert biased.logprobs[0] == biased.logprobs[2] and biased.logprobs[1][1] > biased.logprobs[2][1]
    penalised = v4rt.Sampler(model, presence_penalty=2, frequency_penalty=2, repetition_penalty=100)
    penalised.begin([int(best)])
    assert penalised.sample(logits) != best
    penalised.forget()
    assert penalised.sample(logits) == best
    assert {v4rt.Sampler(model, temperature=5, top_k=1, seed=seed).sample(logits) for seed in range(9)} == {best}
    with pytest.raises(v4rt.Error, match="min_p"):
        v4rt.Sampler(model, min_p=3)
    session.checkpoint()
    session.drop_checkpoint(session.position)


def test_reply():
    tokenizer = v4rt.Tokenizer(v4rt.mini())
    reply = v4rt.Reply(tokenizer, thinking=True)
    pieces = [p for token in tokenizer.encode("Hm.</think>Yes", special=True) for p in reply.push(int(token))]
    pieces += reply.end()
    assert "".join(text for kind, text in pieces if kind == "reasoning") == "Hm."
    assert "".join(text for kind, text in pieces if kind == "content") == "Yes"


def test_sampler(model, session):
    logits = session.feed(PROMPT)
    assert v4rt.Sampler(model).sample(logits) == ANSWER[0] == int(logits.argmax())
    draw = [v4rt.Sampler(model, temperature=1, seed=seed).sample(logits) for seed in range(20)]
    again = [v4rt.Sampler(model, temperature=1, seed=seed).sample(logits) for seed in range(20)]
    assert draw == again and len(set(draw)) > 1
    with pytest.raises(v4rt.Error, match="2047"):
        v4rt.Sampler(model).sample(logits[:-1])


def test_program():
    run = subprocess.run([sys.executable, "-m", "v4rt", "run", "mini", "--numbers", "plain", "-p", "def factorial(n):\n    "],
                         capture_output=True, check=True, text=True)
    assert GOLDEN["text"].removesuffix("<｜end▁of▁sentence｜>").strip() in run.stdout


def test_package():
    folder = pathlib.Path(v4rt.__file__).parent
    assert (folder / "py.typed").exists()
    stub = (folder / "_native.pyi").read_text()
    assert "class Session" in stub and "def feed" in stub
    assert v4rt.__version__.count(".") == 2
    assert os.access(folder / "bin" / "v4rt", os.X_OK)
