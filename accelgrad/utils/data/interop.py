"""The loader's only door to Tensors, dtypes and generators: arrays become Tensors, generators give seeds."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from accelgrad import random as ag_random
from accelgrad.arrays import dtypes
from accelgrad.arrays.backend import CPU
from accelgrad.core.tensor import Tensor, wrap

__all__ = [
    "CPU",
    "Tensor",
    "array_of",
    "default_generator",
    "draw_seed",
    "new_generator",
    "tensor_of",
    "wrap",
]

default_generator = ag_random.default_generator
Generator = ag_random.Generator
NATIVE = frozenset(entry.numpy for entry in dtypes.ALL if entry is not dtypes.bfloat16)


def tensor_of(array: np.ndarray) -> Tensor:
    """Return a Tensor over ``array``, copied only if its byte order is not native; TypeError by its dtype."""
    if array.dtype in NATIVE:
        return wrap(array, CPU)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    dtypes.of(array.dtype)  # a TypeError that lists the dtypes there are
    return wrap(array)


def array_of(value: Any) -> Any:
    """Return a Tensor's values as a NumPy array, copied from a card; anything else as it is."""
    return value.xp.to_host(value.array) if isinstance(value, Tensor) else value


def is_numeric(dtype: np.dtype) -> bool:
    """Return whether an array of this dtype holds numbers or bools."""
    return dtype.kind in "biufc" or dtype.name == "bfloat16"


def common_dtype(arrays: Any) -> np.dtype:
    """Return the common dtype of several arrays: NumPy's choice, or accelgrad's where one is bfloat16."""
    types = [array.dtype for array in arrays]
    if any(one.name == "bfloat16" for one in types):
        return functools.reduce(dtypes.promote_types, map(dtypes.of, types)).numpy
    return np.result_type(*types)


def new_generator(seed: int) -> Any:
    """Return an accelgrad generator that starts at ``seed``."""
    return Generator().manual_seed(seed)


def numpy_generator(generator: Any) -> np.random.Generator:
    """Return the NumPy generator behind ``generator`` (accelgrad's, NumPy's own, or None: the default)."""
    if generator is None:
        return default_generator.numpy
    return generator if isinstance(generator, np.random.Generator) else generator.numpy


def draw_seed(generator: Any = None) -> int:
    """Draw a 63-bit seed from ``generator``, or from accelgrad's default generator."""
    return int(numpy_generator(generator).integers(2**63 - 1))
