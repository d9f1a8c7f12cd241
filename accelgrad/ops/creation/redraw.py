"""Drawing random numbers into an existing tensor: uniform_, normal_, exponential_ and others.

Numbers are drawn by ``generator``, or by the default one.
"""

from __future__ import annotations

import math

import numpy as np

from accelgrad.arrays.dtypes import Number
from accelgrad.core.inplace import assign
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.creation.sampling import draws, gaussian, uniform
from accelgrad.ops.registry import op
from accelgrad.ops.registry.checks import must_be_floating
from accelgrad.random import Generator

__all__ = [
    "bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_", "normal_", "random_", "uniform_",
]  # fmt: skip


def _overwrite(input: Tensor, values: np.ndarray) -> Tensor:
    """Write ``values``, which were drawn on the host, into ``input``."""
    xp = input.xp
    return assign(input, wrap(xp.from_host(values.astype(input.array.dtype, copy=False)), xp))


@op(out=False, differentiable=False, random=True, torch="Tensor.uniform_")
def uniform_(
    input: Tensor, from_: Number = 0, to: Number = 1, *, generator: Generator | None = None
) -> Tensor:
    """Fill with uniform random numbers in [``from_``, ``to``), in place.

    NotImplementedError for integers, RuntimeError if ``from_`` is greater than ``to``.

    >>> import accelgrad
    >>> x = accelgrad.zeros(100).uniform_(2, 3)
    >>> float(x.array.min()) >= 2
    True
    """
    kind = must_be_floating(input.array.dtype, "check_uniform_bounds")
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
    """Fill with normal random numbers with the given mean and standard deviation, in place.

    NotImplementedError for integers, RuntimeError if ``std`` is negative.

    >>> import accelgrad
    >>> accelgrad.zeros(2).normal_(0, 1).shape
    accelgrad.Size([2])
    """
    kind = must_be_floating(input.array.dtype, "normal_kernel_cpu")
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    values = gaussian(draws(generator), input.array.shape, kind)
    if std != 1:
        values *= std
    if mean:
        values += mean
    return _overwrite(input, values)


@op(out=False, differentiable=False, random=True, torch="Tensor.bernoulli_")
def bernoulli_(input: Tensor, p: float | Tensor = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with 1 with probability ``p``, else 0, in place; ``p`` is a number or a tensor that broadcasts.

    RuntimeError for a number that is not in [0, 1].

    >>> import accelgrad
    >>> accelgrad.zeros(2).bernoulli_(1.0)
    tensor([1., 1.])
    """
    if isinstance(p, Tensor):
        wanted = np.broadcast_to(p.xp.to_host(p.array), input.array.shape)
        return _overwrite(input, np.asarray(draws(generator).random(input.array.shape) < wanted))
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    return _overwrite(input, np.asarray(draws(generator).random(input.array.shape, dtype=np.float32) < p))


@op(out=False, differentiable=False, random=True, torch="Tensor.exponential_")
def exponential_(input: Tensor, lambd: float = 1, *, generator: Generator | None = None) -> Tensor:
    """Fill with exponential random numbers, of density ``lambd exp(-lambd x)`` for x >= 0, in place.

    NotImplementedError for integers, RuntimeError unless ``lambd`` is positive.

    >>> import accelgrad
    >>> float(accelgrad.zeros(9).exponential_().array.min()) >= 0
    True
    """
    kind = must_be_floating(input.array.dtype, "exponential")
    if lambd <= 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    drawn = np.float32 if kind.itemsize == 2 else kind
    values = np.asarray(draws(generator).standard_exponential(input.array.shape, dtype=drawn))
    return _overwrite(input, values / lambd)


@op(out=False, differentiable=False, random=True, torch="Tensor.random_")
def random_(
    input: Tensor, from_: int = 0, to: int | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Fill with random integers in [``from_``, ``to``), in place; ``random_(n)`` draws from [0, n).

    Without bounds they lie between 0 and the largest number up to which the dtype holds every integer.
    RuntimeError if no integer lies between the bounds.

    >>> import accelgrad
    >>> int(accelgrad.zeros(9).random_(3).array.max()) < 3
    True
    """
    kind = input.array.dtype
    if to is None and from_:
        from_, to = 0, from_
    if to is None:
        digits = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
        to = (
            2 ** digits[kind.name] + 1
            if kind.name in digits
            else 2
            if kind.kind == "b"
            else np.iinfo(kind).max
        )
    if from_ >= to:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={from_} >= to={to}")
    return _overwrite(input, np.asarray(draws(generator).integers(from_, to, input.array.shape)))


@op(out=False, differentiable=False, random=True, torch="Tensor.log_normal_")
def log_normal_(
    input: Tensor, mean: float = 1, std: float = 2, *, generator: Generator | None = None
) -> Tensor:
    """Fill with ``exp(n)`` for normal random numbers n with the given mean and deviation, in place.

    NotImplementedError for integers, RuntimeError unless ``std`` is positive.

    >>> import accelgrad
    >>> float(accelgrad.zeros(9).log_normal_().array.min()) > 0
    True
    """
    must_be_floating(input.array.dtype, "log_normal")
    if std <= 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    return _overwrite(input, np.exp(draws(generator).standard_normal(input.array.shape) * std + mean))


@op(out=False, differentiable=False, random=True, torch="Tensor.cauchy_")
def cauchy_(
    input: Tensor, median: float = 0, sigma: float = 1, *, generator: Generator | None = None
) -> Tensor:
    """Fill with random numbers of the Cauchy distribution, in place.

    Its density is ``sigma / (pi (sigma² + (x - median)²))``.  NotImplementedError for integers, RuntimeError
    unless ``sigma`` is positive.

    >>> import accelgrad
    >>> accelgrad.zeros(2).cauchy_().shape
    accelgrad.Size([2])
    """
    must_be_floating(input.array.dtype, "cauchy")
    if sigma <= 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    return _overwrite(input, np.asarray(draws(generator).standard_cauchy(input.array.shape) * sigma + median))


@op(out=False, differentiable=False, random=True, torch="Tensor.geometric_")
def geometric_(input: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Fill with the number of trials until the first success of probability ``p``, in place.

    The numbers are 1, 2, ...; RuntimeError unless ``p`` lies between 0 and 1.

    >>> import accelgrad
    >>> accelgrad.zeros(2).geometric_(0.999999999).shape
    accelgrad.Size([2])
    """
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    chance = draws(generator).random(input.array.shape)
    return _overwrite(input, np.asarray(np.ceil(np.log1p(-chance) / math.log1p(-p)).clip(min=1)))
