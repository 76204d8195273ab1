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
from typing import Any, AsyncIterator, Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from . import _native
from ._native import Error, Snapshot

__all__ = [
    "Error", "Model", "Sampler", "Session", "Snapshot", "Tokenizer", "devices", "memory_needed", "mini", "__version__",
]
__version__: str = _native.version()

Path = "str | os.PathLike[str]"
Ids = "npt.ArrayLike"

_FAST = {False: 0, True: 1, "always": 2}


def mini() -> str:
    """The path of the embedded model, a toy with every kind of layer: for tests and first steps."""
    return os.path.join(os.path.dirname(__file__), "share", "v4rt", "models", "v4-mini")


def devices() -> dict[str, Any]:
    """The devices that there are, those that cannot be used and why, and what this build can do."""
    return json.loads(_native.devices_json())


def _ids(ids: Ids) -> Any:
    if hasattr(ids, "__dlpack__") and not isinstance(ids, np.ndarray):
        return ids
    array = np.asarray(ids)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"ids are integers, not {array.dtype}")
    if array.size and (array.min() < -(2**31) or array.max() >= 2**31):
        raise ValueError("an id is outside the range of int32")
    return np.ascontiguousarray(array, dtype=np.int32)


def _options(
    *,
    device: str = "cpu",
    place: Sequence[str] = (),
    memory: dict[str, int] | None = None,
    cache_dir: Path = "",
    weight_cache: Path = "",
    context: int = 4096,
    chunk: int = 0,
    threads: int = 0,
    plain: bool = False,
    fast: bool | str = False,
    mtp: bool = False,
    mmap: bool = True,
    progress: Callable[[str, float], bool | None] | None = None,
) -> _native.ModelOptions:
    if fast not in _FAST:
        raise ValueError(f"fast is {fast!r}; it is False, True or 'always'")
    limits = [f"{name}={size}" for name, size in (memory or {}).items()]
    return _native.ModelOptions(
        device, list(place), limits, os.fspath(cache_dir), os.fspath(weight_cache), context, chunk, threads, plain,
        _FAST[fast], mtp, mmap, progress and (lambda what, done: progress(what, done) is not False))


def memory_needed(path: Path, **options: Any) -> dict[str, Any]:
    """What Model(path, **options) and one session would take of each device. Allocates none of it."""
    return json.loads(_native.memory_needed(os.fspath(path), _options(**options)))


class Model:
    """A checkpoint on devices.

    device: "reference", "cpu", "opencl", "opencl:1", or a part of a device's description.
    place: "PATTERN=DEVICE": nodes whose name matches run there; explain() lists the nodes.
    memory: bytes by device name, which the model and one session may take.
    cache_dir, weight_cache: folders where compiled programs, and weights as the device wants them, are kept.
    context: positions that a sequence can hold. chunk: prompt tokens read at once; results do not depend on it.
    plain: fp32 throughout, in place of the roundings of the release.
    fast: let prompts be read with a library's products, where they are faster (True) or wherever there are any
    ("always"): results then differ in last bits.
    progress(what, done): called for every layer while the model is opened; False stops.
    """

    def __init__(self, path: Path, **options: Any) -> None:
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

    def explain(self, tokens: int = 1, position: int = 0) -> dict[str, Any]:
        """How a step of `tokens` tokens at `position` runs: every node, its device, kernel, bytes and FLOPs."""
        return json.loads(self._model.explain(tokens, position))


class Sampler:
    """Chooses tokens. temperature 0: always the largest logit."""

    def __init__(self, model: Model, *, temperature: float = 0.0, top_p: float = 1.0, seed: int = 0) -> None:
        self._sampler = _native.Sampler(model._model, temperature, top_p, seed)

    def sample(self, logits: npt.ArrayLike) -> int:
        return self._sampler.sample(np.ascontiguousarray(logits, dtype=np.float32))


class Session:
    """The running state of one sequence."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._session = _native.Session(model._model)

    @property
    def position(self) -> int:
        """Tokens that the sequence holds."""
        return self._session.position()

    def feed(self, ids: Ids) -> npt.NDArray[np.float32]:
        """Appends tokens; the logits [vocab_size] after the last one."""
        return self._session.feed(_ids(ids))

    def score(self, ids: Ids) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        """Appends n tokens; the logits [n, vocab_size] after each, and those of the MTP block [n - 1, vocab_size]: of
        a model that was opened with mtp, when the sequence was empty."""
        return self._session.score(self.model.vocab_size, _ids(ids))

    def on_progress(self, progress: Callable[[int, int], bool | None] | None) -> None:
        """progress(done, total) is called between the chunks of a long prompt; False stops, with an Error."""
        self._session.on_progress(progress and (lambda done, total: progress(done, total) is not False))

    def reset(self) -> None:
        self._session.reset()

    def snapshot(self) -> Snapshot:
        """A copy of the state, for restore() of any session of the same checkpoint and options."""
        return self._session.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        self._session.restore(snapshot)

    def generate(self, prompt: Ids, *, sampler: Sampler | None = None, max_tokens: int = 128,
                 ignore_end_token: bool = False) -> Iterator[int]:
        """Feeds `prompt`, then yields tokens as they are chosen, until one that ends a text. A token is in the state
        when the next one is asked for, or the loop is left."""
        sampler = sampler or Sampler(self.model)
        ends = () if ignore_end_token else self.model.end_tokens
        logits = self.feed(prompt)
        for _ in range(max_tokens):
            token = sampler.sample(logits)
            if token in ends or self.position == self.model.context:
                return
            try:
                yield token
            finally:
                logits = self.feed((token,))

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

    def decode(self, ids: Ids) -> str:
        """The text of ids; bytes that are not UTF-8 become U+FFFD."""
        return self._tokenizer.decode(_ids(ids)).decode(errors="replace")

    def token(self, token: int) -> bytes:
        """The bytes of one token, which may be a part of a character."""
        return self._tokenizer.token(token)
