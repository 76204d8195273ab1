"""Engines of the Python package: many requests at once."""

import asyncio
import gc
import json
import pathlib
import threading

import numpy as np
import pytest
import v4rt

GOLDEN = json.loads(pathlib.Path(v4rt.mini(), "golden", "text.json").read_text())["greedy"][0]
PROMPT, ANSWER = GOLDEN["prompt_ids"], GOLDEN["ids"][:-1]  # without the end token
TEXT = GOLDEN["text"].removesuffix("<｜end▁of▁sentence｜>")


@pytest.fixture(scope="module")
def model():
    return v4rt.Model(v4rt.mini(), context=16384, chunk=8, plain=True, slots=2)


@pytest.fixture(scope="module")
def tokenizer():
    return v4rt.Tokenizer(v4rt.mini())


@pytest.fixture
def engine(model):
    with v4rt.Engine(model, cache=False) as engine:
        yield engine


def test_answers_are_those_of_a_session(model, engine, tokenizer):
    options = [dict(temperature=1, seed=seed, top_p=0.9, logprobs=2) for seed in range(5)]
    answers = [engine.ask(PROMPT[: 3 + i], max_tokens=9, ignore_end_token=True, **o) for i, o in enumerate(options)]
    assert 1 <= engine.waiting + engine.running <= 5
    for i, (answer, o) in reversed(list(enumerate(zip(answers, options)))):
        events = list(answer)
        session = v4rt.Session(model)
        alone = session.generate(PROMPT[: 3 + i], sampler=v4rt.Sampler(model, **o), max_tokens=9, ignore_end_token=True)
        assert [event.token for event in events] == list(alone)
        assert all(event.text == "" and len(event.logprobs) == 3 and event.logprobs[0][0] == event.token for event in events)
        assert answer.done and answer.result.stop == "max tokens"
        assert (answer.result.prompt_tokens, answer.result.tokens) == (3 + i, 9)
    assert list(answers[0]) == []
    answer = engine.ask(PROMPT, tokenizer=tokenizer)
    assert "".join(event.text for event in answer) == TEXT
    assert answer.result.stop == "end token"


def test_stop_strings(engine, tokenizer):
    stop = TEXT[8:11]
    answer = engine.ask(PROMPT, tokenizer=tokenizer, stop=["no such text", stop])
    text = "".join(event.text for event in answer)
    assert text == TEXT[: TEXT.index(stop)] and answer.result.stop == "stop string"
    with pytest.raises(v4rt.Error, match="tokenizer"):
        engine.ask(PROMPT, stop=[stop])


def test_asyncio(engine, tokenizer, ticking):
    async def collect():
        async def one():
            return "".join([event.text async for event in engine.ask(PROMPT, tokenizer=tokenizer)])

        async with ticking() as ticks:
            texts = await asyncio.gather(*(one() for _ in range(40)))  # more than there are threads in asyncio's pool
        stopped = engine.ask(PROMPT, max_tokens=16000, ignore_end_token=True)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(forever(stopped), 0.1)
        stopped.cancel()
        assert all([event.token is not None async for event in stopped])
        return texts, len(ticks), stopped.result.stop

    async def forever(answer):
        async for _ in answer:
            pass
        await asyncio.sleep(60)

    texts, ticks, stop = asyncio.run(collect())
    assert texts == [TEXT] * 40 and ticks > 100
    assert stop == "cancelled"


def test_cancel_and_close(model):
    engine = v4rt.Engine(model, cache=False, max_waiting=1)
    ask = lambda: engine.ask(PROMPT, max_tokens=16000, ignore_end_token=True)
    first, second, third = ask(), ask(), ask()
    with pytest.raises(v4rt.Error, match="wait") as caught:
        ask()
    assert caught.value.status == "busy"
    with pytest.raises(v4rt.Error, match="not complete"):
        third.result
    next(first)
    first.cancel()
    assert first.done is False
    for _ in first:
        pass
    assert first.result.stop == "cancelled"
    del second
    gc.collect()
    next(third)  # has a slot now
    engine.close()
    with pytest.raises(v4rt.Error, match="closed") as caught:
        for _ in third:
            pass
    assert caught.value.status == "cancelled"
    with pytest.raises(ValueError, match="closed"):
        ask()
    engine.close()


def test_bad_requests_disturb_nobody(engine):
    answer = engine.ask(PROMPT)
    with pytest.raises(v4rt.Error, match="no tokens"):
        engine.ask([])
    with pytest.raises(v4rt.Error, match="temperature"):
        engine.ask(PROMPT, temperature=-1)
    with pytest.raises(TypeError, match="no_such_option"):
        engine.ask(PROMPT, no_such_option=1)
    assert [event.token for event in answer] == ANSWER


def test_beginnings_are_kept(model, tmp_path):
    prompt = list(range(5, 205))
    results = []
    for _ in range(2):
        with v4rt.Engine(model, cache_folder=tmp_path) as engine:
            answer = engine.ask(prompt, max_tokens=3, ignore_end_token=True)
            tokens = [event.token for event in answer]
            results.append((tokens, answer.result.cached_tokens))
    assert results[0][0] == results[1][0] and results[0][1] == 0 and results[1][1] >= 128


def test_filter(model, engine):
    vocabulary = np.arange(model.vocab_size)
    as_ids = lambda chosen: vocabulary[vocabulary % 3 == len(chosen) % 3]
    as_mask = lambda chosen: vocabulary % 3 == len(chosen) % 3
    session = v4rt.Session(model)
    sampler = v4rt.Sampler(model, filter=as_ids)
    alone = list(session.generate(PROMPT, sampler=sampler, max_tokens=9, ignore_end_token=True))
    assert [token % 3 for token in alone] == [0, 1, 2] * 3

    def fails(chosen):
        return as_mask(chosen) if len(chosen) < 4 else {}["no such key"]

    asked = [engine.ask(PROMPT, filter=f, max_tokens=9, ignore_end_token=True)
             for f in (as_mask, fails, as_ids, lambda chosen: [])]
    assert [event.token for event in asked[0]] == [event.token for event in asked[2]] == alone
    with pytest.raises(KeyError, match="no such key"):
        list(asked[1])
    with pytest.raises(v4rt.Error, match="allows none"):
        list(asked[3])
    under_way = engine.ask(PROMPT, filter=as_mask, max_tokens=16000, ignore_end_token=True)
    next(under_way)
    del under_way
    with pytest.raises(ZeroDivisionError):
        v4rt.Sampler(model, filter=lambda chosen: 1 / 0).sample(session.feed(ANSWER[:1]))


def test_many_threads_ask(engine):
    answers = [None] * 8

    def work(i):
        answers[i] = [event.token for event in engine.ask(PROMPT)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [ANSWER] * 8


@pytest.mark.parametrize("sharing", ["first", "turns", "own"])
def test_thread_sharing(sharing):
    model = v4rt.Model(v4rt.mini(), context=64, chunk=8, threads=2, plain=True, thread_sharing=sharing)
    tokens = [None] * 3

    def work(i):
        tokens[i] = list(v4rt.Session(model).generate(PROMPT, max_tokens=8))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tokens == [ANSWER[:8]] * 3


def test_thread_sharing_has_three_ways():
    with pytest.raises(ValueError, match="thread_sharing is 'mine'"):
        v4rt.Model(v4rt.mini(), thread_sharing="mine")
