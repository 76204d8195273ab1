"""v4rt: DeepSeek-V4 on any hardware, from Python.

    model = v4rt.Model("models/v4", device="opencl")
    tokenizer = v4rt.Tokenizer("models/v4")
    session = v4rt.Session(model)
    for token in session.generate(tokenizer.encode("def f(n):", bos=model.bos_token), max_tokens=64):
        sys.stdout.buffer.write(tokenizer.token(token))

Ids are int32 and logits float32, as NumPy arrays; arrays of other libraries are taken by DLPack, without a copy. The
interpreter is free while the library computes. A model and a tokenizer may be used from many threads, a session and a
sampler from one at a time. What fails is a v4rt.Error, whose `status` is the name of a status of the C interface
("invalid argument", "not found", ...); what an exception out of a callback of yours stops is that exception.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _native
from ._common import Ids, Path, ids_of, sampling
from ._engine import Answer, Engine, Event, Result
from ._native import Error, Snapshot

__all__ = [
    "Answer", "Engine", "Error", "Event", "Model", "Reply", "Result", "Sampler", "Session", "Snapshot", "Tokenizer",
    "devices", "memory_needed", "mini", "program", "__version__",
]
__version__: str = _native.version()

_EFFORTS = ("default", "low", "high", "max")
_REVISIONS = ("preview", "0731")
_FAST = {False: 0, True: 1, "always": 2}
_SHARING = ("first", "turns", "own")


def mini() -> str:
    """The path of the embedded model, a toy with every kind of layer: for tests and first steps."""
    return os.path.join(os.path.dirname(__file__), "share", "v4rt", "models", "v4-mini")


def program() -> str:
    """Where the program v4rt is, which python -m v4rt runs. OpenCL programs are compiled by processes of it."""
    return os.path.join(os.path.dirname(__file__), "bin", "v4rt")


def devices() -> dict[str, Any]:
    """The devices that there are, those that cannot be used and why, and what this build can do."""
    return json.loads(_native.devices_json())


def _options(
    *,
    device: str = "cpu",
    place: Sequence[str] = (),
    memory: dict[str, int] | None = None,
    cache_dir: Path = "",
    weight_cache: Path = "",
    context: int = 4096,
    reserve: int = 0,
    chunk: int = 0,
    threads: int = 0,
    thread_sharing: str = "first",
    slots: int = 1,
    rewind: int = 8,
    draft: int = 0,
    plain: bool = False,
    fast: bool | str = False,
    mtp: bool = False,
    mmap: bool = True,
    progress: Callable[[str, float], bool | None] | None = None,
) -> _native.ModelOptions:
    if fast not in _FAST:
        raise ValueError(f"fast is {fast!r}; it is False, True or 'always'")
    if thread_sharing not in _SHARING:
        raise ValueError(f"thread_sharing is {thread_sharing!r}; it is 'first', 'turns' or 'own'")
    options = _native.ModelOptions()
    options.device = device
    options.place = list(place)
    options.memory = [f"{name}={size}" for name, size in (memory or {}).items()]
    options.cache_dir = os.fspath(cache_dir)
    options.weight_cache = os.fspath(weight_cache)
    options.program = program()
    options.context = context
    options.reserve = reserve
    options.chunk = chunk
    options.threads = threads
    options.slots = slots
    options.rewind = rewind
    options.draft = draft
    options.mtp = mtp
    options.no_mmap = not mmap
    options.numbers(1 if plain else 0)
    options.fast(_FAST[fast])
    options.thread_sharing(_SHARING.index(thread_sharing))
    options.on_progress(progress and (lambda what, done: progress(what, done) is not False))
    return options


def memory_needed(path: Path, **options: Any) -> dict[str, Any]:
    """What Model(path, **options) and one session would take of each device. Allocates none of it."""
    return json.loads(_native.memory_needed(os.fspath(path), _options(**options)))


class Model:
    """A checkpoint on devices.

    path: a folder, a .safetensors file, or the files themselves: {"config.json": bytes, "model.safetensors": bytes},
    of anything that shows its bytes, such as np.memmap; they are used in place where the device can.
    device: "reference", "cpu", "opencl", "opencl:1", "opencl:1/0" (a NUMA domain of it, or a half), or a part of a
    device's description.
    place: "PATTERN=DEVICE": nodes whose name matches run there; explain() lists the nodes.
    memory: bytes by device name, which the model and one session may take.
    cache_dir, weight_cache: folders where compiled programs, and weights as the device wants them, are kept.
    context: positions that a sequence can hold. reserve: those that a device whose memory cannot grow in place holds
    memory for from the start; 0: 4096, at most the context. chunk: prompt tokens read at once; results do not depend on it.
    threads: of the cpu device; 0: one per processor. thread_sharing: when several sessions compute at the same time,
    the threads serve the "first" that asks, and the others compute on the thread of their caller; or all in "turns", an
    operator at a time; or each session has its "own". The results do not depend on it.
    slots: sequences of a session. rewind: positions that they can always go back by. draft: tokens that the MTP block
    guesses at once, at most 4. mtp: build it for score().
    plain: fp32 throughout, in place of the roundings of the release.
    fast: let prompts be read with a library's products, where they are faster (True) or wherever there are any
    ("always"): results then differ in last bits.
    progress(what, done): called for every layer while the model is opened; False stops.
    """

    def __init__(self, path: Path | Mapping[str, Any], **options: Any) -> None:
        if isinstance(path, Mapping):
            self._files = [(name, np.frombuffer(data, np.uint8)) for name, data in path.items()]
            self._model = _native.Model.open_files(self._files, _options(**options))
        else:
            self._model = _native.Model.open(os.fspath(path), _options(**options))
        info = self._model.info()
        self.vocab_size: int = info.vocab_size
        self.context: int = info.context
        self.layers: int = info.layers
        self.bos_token: int = info.bos_token
        self.end_tokens: list[int] = self._model.end_tokens()
        self.has_mtp: bool = info.has_mtp
        self.weight_bytes: int = info.weight_bytes
        self.state_bytes: int = info.state_bytes
        self.arena_bytes: int = info.arena_bytes
        self.chunk: int = info.chunk

    def explain(self, tokens: int = 1, position: int = 0) -> dict[str, Any]:
        """How a step of `tokens` tokens at `position` runs: every node, its device, kernel, bytes and FLOPs."""
        return json.loads(self._model.explain(tokens, position))


class Sampler:
    """Chooses tokens. What is done, in this order, each to what the one before left:

    filter: a function of the tokens chosen so far, whose answer are the ids that may come next, or an array that says of
    each whether it may. It may be called for one place more than once, and for earlier ones again; an engine's thread
    calls it for its requests.
    logit_bias: {id: what is added to its logit}.
    repetition_penalty, for tokens read or chosen; frequency_penalty and presence_penalty, for those chosen.
    temperature: 0: the largest logit, and no other step. min_p, top_k, top_p: what is kept.
    seed: what the draw depends on.
    logprobs: keep the log-probabilities of the chosen token and of this many likeliest.
    """

    def __init__(self, model: Model, **options: Any) -> None:
        self._sampler = _native.Sampler(model._model, sampling(**options))

    def sample(self, logits: npt.ArrayLike) -> int:
        return self._sampler.sample(np.ascontiguousarray(logits, dtype=np.float32))

    def begin(self, ids: Ids) -> None:
        """A text begins with these tokens, or goes on: for the penalties. Session.generate() does it."""
        self._sampler.begin(ids_of(ids))

    def forget(self) -> None:
        """What was read and chosen; the draws go on."""
        self._sampler.forget()

    @property
    def logprobs(self) -> list[tuple[int, float]]:
        """Of the token chosen last: it, then the likeliest, as (id, natural logarithm of its probability)."""
        return self._sampler.logprobs()


class Reply:
    """Takes an answer apart as its tokens come: pieces (kind, text), where kind is "reasoning", "content", "call" (the
    name of a tool), "arguments" (in pieces, together a JSON object) or "call_end"."""

    _kinds = ("reasoning", "content", "call", "arguments", "call_end")

    def __init__(self, tokenizer: Tokenizer, *, thinking: bool = False, calls: bool = True) -> None:
        self._reply = _native.Reply(tokenizer._tokenizer, thinking, calls)

    def push(self, token: int) -> list[tuple[str, str]]:
        return [(self._kinds[kind], text) for kind, text in self._reply.push(token)]

    def end(self) -> list[tuple[str, str]]:
        """What was held back, when the answer has ended."""
        return [(self._kinds[kind], text) for kind, text in self._reply.end()]


class Session:
    """The running state of the model's number of sequences, `slots`, which are independent of each other."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._session = _native.Session(model._model)

    @property
    def position(self) -> int:
        """Tokens that sequence 0 holds."""
        return self.position_of(0)

    def position_of(self, slot: int) -> int:
        return self._session.position(slot)

    def feed(self, ids: Ids, slot: int = 0) -> npt.NDArray[np.float32]:
        """Appends tokens; the logits [vocab_size] after the last one."""
        return self._session.feed(ids_of(ids), slot)

    def feed_batch(self, items: Mapping[int, Ids]) -> npt.NDArray[np.float32]:
        """One step of several sequences: ids by slot, together at most one chunk; the logits [items, vocab_size]."""
        logits = self._session.feed_batch([(slot, ids_of(ids)) for slot, ids in items.items()])
        return logits.reshape(len(items), self.model.vocab_size)

    def score(self, ids: Ids, slot: int = 0) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        """Appends n tokens; the logits [n, vocab_size] after each, and those of the MTP block [n - 1, vocab_size]: of
        a model that was opened with mtp, when the sequence was empty."""
        return self._session.score(self.model.vocab_size, ids_of(ids), slot)

    def draft(self, token: int, n: int, slot: int = 0) -> list[int]:
        """Guesses the n tokens after `token`, which has not been fed; -1 where there is nothing to go by."""
        return self._session.draft(token, n, slot)

    def on_progress(self, progress: Callable[[int, int], bool | None] | None) -> None:
        """progress(done, total) is called after each chunk of a long prompt and after each layer of a chunk. False
        stops, with an Error; the sequence then holds whole chunks."""
        self._session.on_progress(progress and (lambda done, total: progress(done, total) is not False))

    def reset(self, slot: int = 0) -> None:
        self._session.reset(slot)

    def truncate(self, position: int, slot: int = 0) -> None:
        """Forgets the tokens from `position` on: at most `rewind` back, or to a checkpoint."""
        self._session.truncate(position, slot)

    def checkpoint(self, slot: int = 0) -> None:
        """Keeps what it takes to come back to this position."""
        self._session.checkpoint(slot)

    def drop_checkpoint(self, position: int, slot: int = 0) -> None:
        self._session.drop_checkpoint(position, slot)

    def fork(self, source: int, to: int) -> None:
        """Sequence `to` becomes a copy of `source`."""
        self._session.fork(source, to)

    def snapshot(self, slot: int = 0) -> Snapshot:
        """A copy of the state, for restore() of any session of the same checkpoint and numbers; bytes(snapshot) are
        what Snapshot(bytes) takes, and it can be pickled."""
        return self._session.snapshot(slot)

    def restore(self, snapshot: Snapshot, slot: int = 0) -> None:
        self._session.restore(snapshot, slot)

    def generate(self, prompt: Ids, *, sampler: Sampler | None = None, max_tokens: int = 128,
                 ignore_end_token: bool = False, slot: int = 0) -> Iterator[int]:
        """Feeds `prompt`, then yields tokens as they are chosen, until one that ends a text. A token is in the state
        when the next one is asked for, or the loop is left."""
        if max_tokens < 1:
            self.feed(prompt, slot)
            return
        native = (sampler or Sampler(self.model))._sampler
        native.begin(ids_of(prompt))
        ends = () if ignore_end_token else self.model.end_tokens
        token = self._session.advance(native, ids_of(prompt), slot)
        while token not in ends and self.position_of(slot) < self.model.context:
            try:
                yield token
            except BaseException:
                self._session.advance(None, token, slot)
                raise
            max_tokens -= 1
            if max_tokens == 0:
                self._session.advance(None, token, slot)
                return
            token = self._session.advance(native, token, slot)

    async def generate_async(self, prompt: Ids, **options: Any) -> AsyncIterator[int]:
        """generate(), for asyncio: the event loop runs while the library computes."""
        tokens = self.generate(prompt, **options)
        try:
            while (token := await asyncio.to_thread(next, tokens, None)) is not None:
                yield token
        finally:
            await asyncio.to_thread(tokens.close)


class Tokenizer:
    """`path`: a tokenizer.json, or the model's path, beside whose files it lies."""

    def __init__(self, path: Path) -> None:
        self._tokenizer = _native.Tokenizer.open(os.fspath(path))

    @classmethod
    def parse(cls, json_text: str) -> Tokenizer:
        self = cls.__new__(cls)
        self._tokenizer = _native.Tokenizer.parse(json_text)
        return self

    def encode(self, text: str, *, special: bool = False, bos: int | None = None) -> npt.NDArray[np.int32]:
        """The ids of a text, after `bos` if it is given. special: control tokens in the text ("<think>") become their
        ids, which must not be used for text from others."""
        ids = self._tokenizer.encode(text, special)
        return ids if bos is None else np.concatenate((np.array([bos], np.int32), ids))

    def encode_chat(self, messages: Sequence[Mapping[str, Any]], *, tools: Sequence[Mapping[str, Any]] = (),
                    thinking: bool = False, effort: str = "default", revision: str = "preview",
                    keep_reasoning: bool = False, bos: bool = True) -> npt.NDArray[np.int32]:
        """The ids of a conversation, which end where the model is to go on. Messages and tools are those of OpenAI's
        API: a message has a "role" ("system", "user", "assistant", "tool", "developer", "latest_reminder") and a
        "content"; an assistant's perhaps a "reasoning_content" and "tool_calls", a tool's the "tool_call_id". Control
        tokens in them are text. effort: "default", "low", "high", "max". revision: "preview" or "0731"."""
        parts = [(m["role"], m.get("content") or "", m.get("reasoning_content") or "",
                  json.dumps(m["tool_calls"]) if m.get("tool_calls") else "", m.get("tool_call_id") or "")
                 for m in messages]
        offered = json.dumps(list(tools)) if tools else ""
        return np.array(_native.chat_encode(self._tokenizer, parts, offered, thinking, _EFFORTS.index(effort),
                                            _REVISIONS.index(revision), keep_reasoning, bos), np.int32)

    def decode(self, ids: Ids) -> str:
        """The text of ids; bytes that are not UTF-8 become U+FFFD."""
        return self._tokenizer.decode(ids_of(ids)).decode(errors="replace")

    def token(self, token: int) -> bytes:
        """The bytes of one token, which may be a part of a character."""
        return self._tokenizer.token(token)
