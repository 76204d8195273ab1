"""What the parts of the package share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from . import _native

Path = Union[str, "os.PathLike[str]"]
Ids = npt.ArrayLike
Filter = Callable[[npt.NDArray[np.int32]], npt.ArrayLike]


def ids_of(ids: Ids) -> Any:
    if hasattr(ids, "__dlpack__") and not isinstance(ids, np.ndarray):
        return ids
    array = np.asarray(ids)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"ids are integers, not {array.dtype}")
    if array.size and (array.min() < -(2**31) or array.max() >= 2**31):
        raise ValueError("an id is outside the range of int32")
    return np.ascontiguousarray(array, dtype=np.int32)


def sampling(
    *,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    top_k: int = 0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    presence_penalty: float = 0.0,
    frequency_penalty: float = 0.0,
    logit_bias: Mapping[int, float] | None = None,
    logprobs: int | None = None,
    filter: Filter | None = None,
) -> _native.SamplerOptions:
    return _native.SamplerOptions(temperature, top_p, seed, top_k, min_p, repetition_penalty, presence_penalty,
                                  frequency_penalty, list((logit_bias or {}).items()), logprobs, filter and _fills(filter))


def _fills(filter: Filter) -> Callable[[npt.NDArray[np.int32], npt.NDArray[np.uint64]], None]:
    """The same for the library, whose words have a bit for each id."""
    def fill(chosen: npt.NDArray[np.int32], words: npt.NDArray[np.uint64]) -> None:
        answer = np.asarray(filter(chosen))
        allowed = np.zeros(words.size * 64, np.bool_)
        if answer.dtype == np.bool_:
            allowed[: answer.size] = answer
        else:
            allowed[answer.astype(np.intp)] = True
        words[:] = np.packbits(allowed, bitorder="little").view(np.uint64)

    return fill
