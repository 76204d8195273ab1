"""Many requests at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _native
from ._common import Ids, Path, ids_of, sampling

if TYPE_CHECKING:
    from . import Model, Tokenizer

_STOPS = ("end token", "max tokens", "context full", "cancelled", "stop string")


class Event(NamedTuple):
    """What comes next of an answer: a token, and the text that became certain by it, in whole characters. The last one
    may be no token but text that was held back."""

    token: int | None
    text: str
    logprobs: list[tuple[int, float]]
    """As of Sampler.logprobs."""


class Result(NamedTuple):
    """How an answer went. cached_tokens: of the prompt, which the engine's cache held. drafted, accepted: guesses made,
    and those that were right. stop: "end token", "max tokens", "context full", "cancelled" or "stop string"."""

    stop: str
    prompt_tokens: int
    cached_tokens: int
    tokens: int
    drafted: int
    accepted: int
    prefill_seconds: float
    decode_seconds: float


class Answer(Iterator[Event], AsyncIterator[Event]):
    """One request under way: `for event in answer`, or `async for event in answer`, of which many can wait in one
    thread. It is cancelled when it goes, or is closed, before its end; what it waits for then ends. A request that
    fails raises an Error here, and does not disturb the others."""

    def __init__(self, answer: _native.Answer) -> None:
        self._answer = answer

    def __next__(self) -> Event:
        while not self._answer.done:
            if event := self._next(0.1):  # in between, the interpreter looks for Ctrl-C
                return event
        raise StopIteration

    async def __anext__(self) -> Event:
        loop = asyncio.get_running_loop()
        while not self._answer.done:
            self._answer.forget_news()  # before looking: what comes afterwards is told again
            if event := self._next(0):
                return event
            if self._answer.done:
                break
            came = loop.create_future()
            loop.add_reader(self._answer.news, lambda: came.done() or came.set_result(None))
            try:
                await came
            finally:
                loop.remove_reader(self._answer.news)
        raise StopAsyncIteration

    def cancel(self) -> None:
        """Asks for its end, from any thread; what has been written before that still comes."""
        self._answer.cancel()

    @property
    def done(self) -> bool:
        """Whether its end has come."""
        return self._answer.done

    @property
    def result(self) -> Result:
        """When it is done."""
        r = self._answer.result()
        return Result(_STOPS[r.stop], r.prompt_tokens, r.cached_tokens, r.tokens, r.drafted, r.accepted,
                      r.prefill_seconds, r.decode_seconds)

    def _next(self, seconds: float) -> Event | None:
        event = self._answer.next(seconds)
        if event is None:
            return None
        token, text, logprobs = event
        return Event(None if token < 0 else token, text, logprobs)


class Engine:
    """Many requests at once, over the slots of a session of its own: open the model with `slots`. A thread takes a
    token of every sequence that is written, and parts of prompts, in each step; requests begin in the order in which
    they come. Beginnings of prompts are kept, and not read again. What a request is answered does not depend on the
    others. It may be used from many threads.

        with v4rt.Engine(model) as engine:
            answers = [engine.ask(tokenizer.encode(text), tokenizer=tokenizer) for text in texts]
            for answer in answers:
                print("".join(event.text for event in answer))

    cache: False: every prompt is read whole. cache_memory: bytes for beginnings; 0: 1 GiB. cache_folder: where they are
    kept between runs, also for other processes, cache_folder_bytes of them; 0: 4 GiB. max_waiting: requests without a
    slot; one more is an Error whose status is "busy".
    """

    def __init__(self, model: Model, *, cache: bool = True, cache_memory: int = 0, cache_folder: Path = "",
                 cache_folder_bytes: int = 0, max_waiting: int = 64) -> None:
        self._engine = _native.Engine(model._model, os.fspath(cache_folder), cache_folder_bytes, cache_memory,
                                      not cache, max_waiting)

    def ask(self, prompt: Ids, *, tokenizer: Tokenizer | None = None, max_tokens: int = 128, stop: Sequence[str] = (),
            ignore_end_token: bool = False, cache_space: str = "", **sampling_options: Any) -> Answer:
        """tokenizer: for the text of events. stop: the text ends before the first of these that comes. cache_space:
        beginnings are shared with requests of the same space alone. And the options of Sampler."""
        return Answer(self._engine.ask(ids_of(prompt), sampling(**sampling_options), tokenizer and tokenizer._tokenizer,
                                       list(stop), cache_space, max_tokens, ignore_end_token))

    @property
    def waiting(self) -> int:
        """Requests without a slot."""
        return self._engine.info()[0]

    @property
    def running(self) -> int:
        return self._engine.info()[1]

    def close(self) -> None:
        """Answers that are not complete end with an Error whose status is "cancelled". Waits for the step that
        runs."""
        self._engine.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
