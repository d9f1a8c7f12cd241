"""Random tensors: rand, randn, randint, randperm, normal, bernoulli, multinomial and others.

Numbers are drawn on the host by the generator (the default one, or ``generator=``) and then moved to the
device: the same seed gives the same values everywhere.  float32 is drawn as float32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from accelgrad import random
from accelgrad.arrays import backend, dtypes
from accelgrad.arrays.dtypes import Number
from accelgrad.arrays.dtypes import dtype as DType
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.creation.create import extents, kind_of, like, made
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import must_be_floating
from accelgrad.random import Generator

__all__ = [
    "bernoulli", "fork_rng", "get_rng_state", "multinomial", "normal", "poisson", "rand", "rand_like",
    "randint", "randint_like", "randn", "randn_like", "randperm", "set_rng_state",
]  # fmt: skip


def draws(generator: Generator | None) -> np.random.Generator:
    """Return the NumPy generator that draws for ``generator``, or for the default one."""
    if generator is None:
        return random.default_generator.numpy
    if not isinstance(generator, Generator):
        raise TypeError(f"argument 'generator' must be Generator, not {type(generator).__name__}")
    return generator.numpy


def uniform(rng: np.random.Generator, shape: tuple[int, ...], kind: np.dtype) -> np.ndarray:
    """Return uniform random values in [0, 1) in a floating point dtype."""
    if kind.itemsize == 2:
        # As many bits as the type has, 11 or 8, so that rounding never gives 1.
        count = 2048 if kind == np.float16 else 256
        return (rng.integers(0, count, shape) / count).astype(kind)
    return np.asarray(rng.random(shape, dtype=kind))


def gaussian(rng: np.random.Generator, shape: tuple[int, ...], kind: np.dtype) -> np.ndarray:
    """Return normal random values with mean 0 and standard deviation 1 in a floating point dtype."""
    if kind.itemsize == 2:
        return rng.standard_normal(shape, dtype=np.float32).astype(kind)
    return np.asarray(rng.standard_normal(shape, dtype=kind))


# --- new tensors


@op(method=False, differentiable=False, random=True)
def rand(
    *shape: int | Sequence[int],
    size: Sequence[int] | None = None,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return uniform random numbers in [0, 1) of shape ``size``.

    Shape and dtype are given as for :func:`accelgrad.zeros`.  NotImplementedError for an integer dtype.

    >>> import accelgrad
    >>> x = accelgrad.rand(2, 3)
    >>> x.shape, bool((x.array < 1).all())
    (accelgrad.Size([2, 3]), True)
    """
    xp = backend.namespace(device)
    kind = must_be_floating(kind_of(dtype), "rand")
    return made(
        xp.from_host(uniform(draws(generator), extents(shape, size, "rand"), kind)), xp, requires_grad
    )


@op(method=False, differentiable=False, random=True)
def randn(
    *shape: int | Sequence[int],
    size: Sequence[int] | None = None,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Return normal random numbers with mean 0 and variance 1, of shape ``size``.

    Shape and dtype are given as for :func:`accelgrad.zeros`.  NotImplementedError for an integer dtype.

    >>> import accelgrad
    >>> accelgrad.randn(2, 3).shape
    accelgrad.Size([2, 3])
    """
    xp = backend.namespace(device)
    kind = must_be_floating(kind_of(dtype), "normal_kernel_cpu")
    return made(
        xp.from_host(gaussian(draws(generator), extents(shape, size, "randn"), kind)), xp, requires_grad
    )


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
    """Return random integers in [``low``, ``high``), or in [0, ``high``) as ``randint(high, size)``.

    They are int64 unless ``dtype`` is given.  RuntimeError if ``low`` is not less than ``high``.

    >>> import accelgrad
    >>> x = accelgrad.randint(3, (100,))
    >>> int(x.array.min()) >= 0, int(x.array.max()) < 3
    (True, True)
    """
    if size is None:
        low, high, size = 0, low, high  # type: ignore[assignment]
    if not isinstance(high, int | np.integer):
        raise TypeError(f"randint() takes low, high, size or high, size; got high = {high!r}")
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    kind = np.dtype(np.int64) if dtype is None else dtypes.as_numpy(dtype)
    xp = backend.namespace(device)
    values = draws(generator).integers(low, high, extents((size,)))
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
    """Return the integers 0 ... n - 1 in random order, as int64 unless ``dtype`` is given.

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
    """Return uniform random numbers in [0, 1) in the shape of ``input``, in its dtype and on its device.

    ``dtype`` and ``device`` choose others.  NotImplementedError for an integer dtype.

    >>> import accelgrad
    >>> accelgrad.rand_like(accelgrad.zeros(2)).shape
    accelgrad.Size([2])
    """
    xp, kind = like(input, dtype, device)
    values = uniform(draws(generator), input.array.shape, must_be_floating(kind, "rand_like"))
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
    """Return normal random numbers in the shape of ``input``, in its dtype and on its device.

    ``dtype`` and ``device`` choose others.  NotImplementedError for an integer dtype.

    >>> import accelgrad
    >>> accelgrad.randn_like(accelgrad.zeros(2)).shape
    accelgrad.Size([2])
    """
    xp, kind = like(input, dtype, device)
    values = gaussian(draws(generator), input.array.shape, must_be_floating(kind, "normal_kernel_cpu"))
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
    """Return random integers in [``low``, ``high``) in the shape, dtype and device of ``input``.

    ``randint_like(input, high)`` draws from [0, ``high``); ``dtype`` and ``device`` choose others.

    >>> import accelgrad
    >>> accelgrad.randint_like(accelgrad.zeros(2), 5).dtype
    accelgrad.float32
    """
    xp, kind = like(input, dtype, device)
    bounds = (0, low) if high is None else (low, high)
    return randint(
        *bounds,
        input.array.shape,
        generator=generator,
        dtype=dtypes.of(kind),
        device=xp.device,
        requires_grad=requires_grad,
    )


# --- by parameters


class Bernoulli(Primitive):
    """y = 1 with probability p, else 0;  dL/dp = 0, as PyTorch has it."""

    @staticmethod
    def forward(ctx, p, *, chance):
        return (chance < p).astype(p.dtype)

    @staticmethod
    def backward(ctx, grad):
        return grad * 0.0


@op(primitive=Bernoulli, samples=[sample(arg(2, 3, low=0, high=1))], random=True, differentiable=False)
def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """Draw 1 with the probability that ``input`` gives for each element (or ``p`` for all), else 0.

    The result has the shape and dtype of ``input``.  RuntimeError if a probability is not in [0, 1].

    >>> import accelgrad
    >>> accelgrad.bernoulli(accelgrad.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    array, xp = input.array, input.xp
    if p is not None:
        if not 0 <= p <= 1:
            raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
        hits = draws(generator).random(array.shape, dtype=np.float32) < p
        return wrap(xp.from_host(np.asarray(hits).astype(array.dtype)), xp)
    must_be_floating(array.dtype, "bernoulli_tensor_cpu_p_")
    if array.size and not (float(array.min()) >= 0 and float(array.max()) <= 1):
        raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true: probabilities lie in [0, 1]")
    chance = draws(generator).random(array.shape)
    return Bernoulli.apply(input, chance=xp.from_host(np.asarray(chance)))


@op(
    method=False,
    samples=[sample(arg(4, requires_grad=False), arg(4, low=0.1, requires_grad=False))],
    random=True,
    differentiable=False,
)
def normal(
    mean: Tensor | Number,
    std: Tensor | Number = 1.0,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Draw normal random numbers with the given means and standard deviations.

    These are tensors, which broadcast, or two numbers together with ``size``.  RuntimeError if a deviation is
    negative.

    >>> import accelgrad
    >>> accelgrad.normal(0.0, 1.0, (2, 3)).shape
    accelgrad.Size([2, 3])
    """
    given = [one for one in (mean, std) if isinstance(one, Tensor)]
    lowest = std.array.min() if isinstance(std, Tensor) and std.array.size else std
    if not isinstance(lowest, Tensor) and float(lowest) < 0:
        raise RuntimeError(f"normal expects all elements of std >= 0.0, but found std {float(lowest)}")
    if not given:
        if size is None:
            raise TypeError("normal() of two numbers needs a size")
        xp, kind = backend.namespace(device), kind_of(dtype)
        values = gaussian(draws(generator), extents((size,)), must_be_floating(kind, "normal_kernel_cpu"))
        return made(xp.from_host(np.asarray(values * std + mean, dtype=kind)), xp, requires_grad)
    xp = given[0].xp
    shape = np.broadcast_shapes(*[one.array.shape for one in given])
    values = xp.from_host(gaussian(draws(generator), shape, given[0].array.dtype))
    scale, shift = (one.array if isinstance(one, Tensor) else one for one in (std, mean))
    return made(xp.asarray(values * scale + shift, dtype=given[0].array.dtype), xp, requires_grad)


@op(
    samples=[sample(arg(2, 3, low=0, high=9, requires_grad=False))],
    random=True,
    differentiable=False,
    out=False,
)
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Draw counts of Poisson distributions whose rates are the elements of ``input``.

    The result has the shape and dtype of ``input``.  RuntimeError if a rate is negative.

    >>> import accelgrad
    >>> accelgrad.poisson(accelgrad.zeros(2))
    tensor([0., 0.])
    """
    rates = input.xp.to_host(input.array)
    if rates.size and not rates.min() >= 0:
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    counts = np.asarray(draws(generator).poisson(rates)).astype(input.array.dtype)
    return wrap(input.xp.from_host(counts), input.xp)


@op(
    samples=[
        sample(arg(4, low=0.1, requires_grad=False), 2),
        sample(arg(2, 3, low=0.1, requires_grad=False), 5, True),
    ],
    errors=[
        (sample(arg(3, low=0), 4), RuntimeError, "cannot sample n_sample > prob_dist.size"),
        (sample(arg(3, low=0), 0), RuntimeError, "cannot sample n_sample <= 0 samples"),
        (
            sample(arg(2, values=[-1, 1]), 1),
            RuntimeError,
            r"probability tensor contains either `inf`, `nan` or element < 0",
        ),
        (sample(arg(2, values=[0, 0]), 1), RuntimeError, "invalid multinomial distribution"),
        (sample(arg(1, 1, 2, low=0), 1), RuntimeError, "prob_dist must be 1 or 2 dim"),
    ],
    random=True,
    differentiable=False,
)
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Draw indices with probabilities proportional to the elements of each row of ``input``.

    ``input`` is (n,) or (rows, n), the result (num_samples,) or (rows, num_samples), in int64.  Without
    ``replacement`` an index comes at most once in a row: those of the largest ``p / e`` are taken, e being
    exponential random numbers (Efraimidis & Spirakis 2006, algorithm A).  RuntimeError for elements that are
    negative, not finite or all 0, and for too few positive ones.

    >>> import accelgrad
    >>> accelgrad.multinomial(accelgrad.tensor([0.0, 3.0]), 2, replacement=True)
    tensor([1, 1])
    """
    weights = np.asarray(input.xp.to_host(input.array), dtype=np.float64)
    if weights.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > weights.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    rows = np.atleast_2d(weights)
    totals = rows.sum(axis=1, keepdims=True)
    if not (totals > 0).all():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    if not replacement and ((rows > 0).sum(axis=1) < num_samples).any():
        raise RuntimeError(
            "invalid multinomial distribution (with replacement=False,"
            " not enough non-negative category to sample)"
        )
    rng = draws(generator)
    if replacement:
        bounds = np.cumsum(rows / totals, axis=1)
        bounds /= bounds[:, -1:]
        chance = rng.random((rows.shape[0], num_samples))
        found = [np.searchsorted(bound, c, side="right") for bound, c in zip(bounds, chance, strict=True)]
        index = np.stack(found) if found else np.zeros((0, num_samples), np.int64)
    else:
        scores = rows / rng.standard_exponential(rows.shape)
        index = np.argsort(-scores, axis=1, kind="stable")[:, :num_samples]
    index = index.astype(np.int64).reshape((*weights.shape[:-1], num_samples))  # (rows, n), or (n,)
    return wrap(input.xp.from_host(np.ascontiguousarray(index)), input.xp)


# --- states


@op(method=False, out=False, differentiable=False)
def get_rng_state() -> Tensor:
    """Return the state of the default generator, a uint8 tensor for :func:`set_rng_state`.

    >>> import accelgrad
    >>> state = accelgrad.get_rng_state()
    >>> a = accelgrad.rand(2)
    >>> accelgrad.set_rng_state(state)
    >>> bool((accelgrad.rand(2) == a).all())
    True
    """
    return wrap(random.default_generator.get_state(), backend.CPU)


@op(method=False, out=False, differentiable=False)
def set_rng_state(new_state: Tensor) -> None:
    """Set the default generator to a state taken by :func:`get_rng_state`.

    >>> import accelgrad
    >>> state = accelgrad.get_rng_state()
    >>> a = accelgrad.rand(2)
    >>> accelgrad.set_rng_state(state)
    >>> accelgrad.equal(accelgrad.rand(2), a)
    True
    """
    random.default_generator.set_state(new_state)


@op(method=False, out=False, differentiable=False)
@contextlib.contextmanager
def fork_rng(devices: Any = None, enabled: bool = True) -> Iterator[None]:
    """Give the default generator back, at the end of a ``with`` block, the state it had at the beginning.

    It serves all devices, so ``devices`` changes nothing; with ``enabled=False`` nothing is restored.

    >>> import accelgrad
    >>> with accelgrad.fork_rng():
    ...     _ = accelgrad.manual_seed(1)
    """
    before = random.default_generator.get_state()
    try:
        yield
    finally:
        if enabled:
            random.default_generator.set_state(before)
