"""Where the loader meets the rest of accelgrad: arrays become Tensors, generators give seeds."""

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
    """A Tensor over ``array``, not copied; foreign byte orders are made native, unknown dtypes refused."""
    if array.dtype in NATIVE:
        return wrap(array, CPU)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    dtypes.of(array.dtype)  # a TypeError that lists the dtypes there are
    return wrap(array)


def array_of(value: Any) -> Any:
    """The values of a Tensor as NumPy's array, copied from a card; anything else as it is."""
    return value.xp.to_host(value.array) if isinstance(value, Tensor) else value


def is_numeric(dtype: np.dtype) -> bool:
    """Whether an array of this type holds numbers or bools."""
    return dtype.kind in "biufc" or dtype.name == "bfloat16"


def common_dtype(arrays: Any) -> np.dtype:
    """The type in which arrays of several types are put together: NumPy's choice, which has no word for
    bfloat16."""
    types = [array.dtype for array in arrays]
    if any(one.name == "bfloat16" for one in types):
        return functools.reduce(dtypes.promote_types, map(dtypes.of, types)).numpy
    return np.result_type(*types)


def new_generator(seed: int) -> Any:
    """An accelgrad generator that starts at ``seed``."""
    return Generator().manual_seed(seed)


def numpy_generator(generator: Any) -> np.random.Generator:
    """The NumPy generator behind ``generator`` (accelgrad's, NumPy's own, or None: the default)."""
    if generator is None:
        return default_generator.numpy
    return generator if isinstance(generator, np.random.Generator) else generator.numpy


def draw_seed(generator: Any = None) -> int:
    """A 63-bit seed drawn from ``generator``, or from accelgrad's default generator."""
    return int(numpy_generator(generator).integers(2**63 - 1))
