"""What the parts of the package share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from . import _native

Path = Union[str, "os.PathLike[str]"]
Ids = npt.ArrayLike


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
) -> _native.SamplerOptions:
    return _native.SamplerOptions(temperature, top_p, seed, top_k, min_p, repetition_penalty, presence_penalty,
                                  frequency_penalty, list((logit_bias or {}).items()), logprobs)
