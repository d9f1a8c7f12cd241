"""Random tensors: rand, randn, randint, randperm, normal, bernoulli, multinomial and their kin.

Numbers are drawn on the host by the generator (the default one, or ``generator=``) and then moved to the device: the same
seed gives the same values everywhere.  float32 is drawn as float32.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from accelgrad import backend, dtypes, random
from accelgrad.dtypes import dtype as DType
from accelgrad.ops.create import extents, kind_of, made
from accelgrad.ops.registry import op
from accelgrad.primitive import Primitive, assign
from accelgrad.random import Generator
from accelgrad.tensor import Tensor, wrap

__all__ = [
    "bernoulli", "fork_rng", "get_rng_state", "multinomial", "normal", "poisson", "rand", "rand_like", "randint",
    "randint_like", "randn", "randn_like", "randperm", "set_rng_state",
]  # fmt: skip

Number = bool | int | float


def draws(generator: Generator | None) -> np.random.Generator:
    """The NumPy generator that draws: of ``generator``, or the default one."""
    if generator is None:
        return random.default_generator._numpy
    if not isinstance(generator, Generator):
        raise TypeError(f"argument 'generator' must be Generator, not {type(generator).__name__}")
    return generator.numpy


def uniform(rng: np.random.Generator, shape: tuple[int, ...], kind: np.dtype) -> np.ndarray:
    """Uniform values in [0, 1) of a floating point type."""
    if kind == np.float16:  # 11 bits, so that rounding never gives 1
        return (rng.integers(0, 2048, shape) / 2048).astype(kind)
    return np.asarray(rng.random(shape, dtype=kind))


def gaussian(rng: np.random.Generator, shape: tuple[int, ...], kind: np.dtype) -> np.ndarray:
    """Values of the normal distribution with mean 0 and deviation 1."""
    if kind == np.float16:
        return rng.standard_normal(shape, dtype=np.float32).astype(kind)
    return np.asarray(rng.standard_normal(shape, dtype=kind))


def _floating(name: str, kind: np.dtype) -> np.dtype:
    if kind.kind != "f":
        raise RuntimeError(f"\"{name}\" not implemented for '{dtypes.of(kind).title.removesuffix('Tensor')}'")
    return kind


# ------------------------------------------------------------------------------------------------ new tensors


@op(method=False, differentiable=False, random=True)
def rand(
    *size: int | Sequence[int],
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Uniform random numbers in [0, 1) of shape ``size``.

    >>> import accelgrad
    >>> x = accelgrad.rand(2, 3)
    >>> x.shape, bool((x.array < 1).all())
    (accelgrad.Size([2, 3]), True)
    """
    xp = backend.namespace(device)
    kind = _floating("rand", kind_of(dtype))
    return made(xp.from_host(uniform(draws(generator), extents(size), kind)), xp, requires_grad)


@op(method=False, differentiable=False, random=True)
def randn(
    *size: int | Sequence[int],
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Random numbers of the normal distribution with mean 0 and variance 1, of shape ``size``.

    >>> import accelgrad
    >>> accelgrad.randn(2, 3).shape
    accelgrad.Size([2, 3])
    """
    xp = backend.namespace(device)
    kind = _floating("normal_kernel_cpu", kind_of(dtype))
    return made(xp.from_host(gaussian(draws(generator), extents(size), kind)), xp, requires_grad)


@op(method=False, differentiable=False, random=True)
def randint(
    low: int,
    high: int | Sequence[int],
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Random integers in [``low``, ``high``), or [0, ``low``) as ``randint(high, size)``; int64 unless ``dtype`` is given.

    >>> import accelgrad
    >>> x = accelgrad.randint(3, (100,))
    >>> int(x.array.min()) >= 0, int(x.array.max()) < 3
    (True, True)
    """
    if size is None:
        low, high, size = 0, low, high  # type: ignore[assignment]
    if low >= high:  # type: ignore[operator]
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    kind = np.dtype(np.int64) if dtype is None else dtypes.as_numpy(dtype)
    xp = backend.namespace(device)
    values = draws(generator).integers(low, high, extents((size,)))  # type: ignore[arg-type]
    return made(xp.from_host(np.asarray(values).astype(kind, copy=False)), xp, requires_grad)


@op(method=False, differentiable=False, random=True)
def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """The integers 0 ... n - 1 in random order.

    >>> import accelgrad
    >>> sorted(accelgrad.randperm(4).tolist())
    [0, 1, 2, 3]
    """
    if n < 0:
        raise RuntimeError(f"n must be non-negative, got {n}")
    kind = np.dtype(np.int64) if dtype is None else dtypes.as_numpy(dtype)
    xp = backend.namespace(device)
    values = draws(generator).permutation(n).astype(kind, copy=False)
    return made(xp.from_host(values), xp, requires_grad)


def _like(input: Tensor, dtype: Any, device: Any) -> tuple[Any, np.dtype]:
    kind = input.array.dtype if dtype is None else dtypes.as_numpy(dtype)
    return (input.xp if device is None else backend.namespace(device)), kind


@op(method=False, out=False, differentiable=False, random=True)
def rand_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Uniform random numbers in [0, 1) with the shape, type and device of ``input``.

    >>> import accelgrad
    >>> accelgrad.rand_like(accelgrad.zeros(2)).shape
    accelgrad.Size([2])
    """
    xp, kind = _like(input, dtype, device)
    values = uniform(draws(generator), input.array.shape, _floating("rand_like", kind))
    return made(xp.from_host(values), xp, requires_grad)


@op(method=False, out=False, differentiable=False, random=True)
def randn_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Normal random numbers with the shape, type and device of ``input``.

    >>> import accelgrad
    >>> accelgrad.randn_like(accelgrad.zeros(2)).shape
    accelgrad.Size([2])
    """
    xp, kind = _like(input, dtype, device)
    values = gaussian(draws(generator), input.array.shape, _floating("normal_kernel_cpu", kind))
    return made(xp.from_host(values), xp, requires_grad)


@op(method=False, out=False, differentiable=False, random=True)
def randint_like(
    input: Tensor,
    low: int,
    high: int | None = None,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Random integers in [``low``, ``high``), or [0, ``low``), with the shape, type and device of ``input``.

    >>> import accelgrad
    >>> accelgrad.randint_like(accelgrad.zeros(2), 5).dtype
    accelgrad.float32
    """
    xp, kind = _like(input, dtype, device)
    bounds = (0, low) if high is None else (low, high)
    return randint(
        *bounds,
        input.array.shape,
        generator=generator,
        dtype=dtypes.of(kind),
        device=xp.device,
        requires_grad=requires_grad,
    )


# ------------------------------------------------------------------------------------------------ in place


def _overwrite(input: Tensor, values: np.ndarray) -> Tensor:
    """``values`` drawn on the host, written into ``input``."""
    xp = input.xp
    return assign(input, wrap(xp.from_host(values.astype(input.array.dtype, copy=False)), xp))


@op(out=False, differentiable=False, random=True, torch="Tensor.uniform_")
def uniform_(
    input: Tensor, from_: Number = 0, to: Number = 1, *, generator: Generator | None = None
) -> Tensor:
    """Filled with uniform random numbers in [``from_``, ``to``), in place.

    >>> import accelgrad
    >>> x = accelgrad.zeros(100).uniform_(2, 3)
    >>> float(x.array.min()) >= 2
    True
    """
    kind = _floating("check_uniform_bounds", input.array.dtype)
    if from_ > to:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={from_} > to={to}")
    values = uniform(draws(generator), input.array.shape, kind)
    if (from_, to) != (0, 1):
        values *= to - from_
        values += from_
    return _overwrite(input, values)


@op(out=False, differentiable=False, random=True, torch="Tensor.normal_")
def normal_(
    input: Tensor, mean: Number = 0, std: Number = 1, *, generator: Generator | None = None
) -> Tensor:
    """Filled with random numbers of the normal distribution with ``mean`` and deviation ``std``, in place.

    >>> import accelgrad
    >>> accelgrad.zeros(2).normal_(0, 1).shape
    accelgrad.Size([2])
    """
    kind = _floating("normal_kernel_cpu", input.array.dtype)
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    values = gaussian(draws(generator), input.array.shape, kind)
    if std != 1:
        values *= std
    if mean:
        values += mean
    return _overwrite(input, values)
