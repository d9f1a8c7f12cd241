"""Calls of every kernel at awkward sizes, and how their results are compared with the formulas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from accelgrad import kernels
from accelgrad.arrays import backend
from accelgrad.kernels.windows import Geometry

Case = tuple[str, tuple[Any, ...], dict[str, Any]]


def numbers(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def integers(limit: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, limit, shape)


class Offset:
    """An array that is moved to the card together with ``offset`` elements before it, and then cut off."""

    def __init__(self, x: np.ndarray, offset: int) -> None:
        self.x, self.offset = x, offset


class Transposed:
    """A matrix, or a stack of them, whose memory runs along its columns."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x


def moved(xp: Any, one: Any) -> Any:
    if isinstance(one, Offset):
        whole = np.concatenate([np.zeros(one.offset, one.x.dtype), one.x.ravel()])
        return xp.from_host(whole)[one.offset :].reshape(one.x.shape)
    if isinstance(one, Transposed):
        return xp.from_host(np.ascontiguousarray(one.x.swapaxes(-1, -2))).swapaxes(-1, -2)
    return xp.from_host(one) if isinstance(one, np.ndarray) else one


def plain_value(one: Any) -> Any:
    """The argument for the formula: in float64."""
    value = one.x if isinstance(one, Offset | Transposed) else one
    return value.astype("float64") if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


def results(xp: Any, case: Case) -> list[np.ndarray]:
    """What a kernel gives, on the host."""
    name, arguments, options = case
    found = getattr(xp, name)(*[moved(xp, one) for one in arguments], **options)
    return [one.get() for one in (found if isinstance(found, tuple) else (found,)) if one is not None]


def expected(case: Case) -> list[np.ndarray]:
    """What the formula gives in float64."""
    name, arguments, options = case
    with kernels.use("off"), np.errstate(all="ignore"):
        found = getattr(backend.CPU, name)(*map(plain_value, arguments), **options)
    return [np.asarray(one) for one in (found if isinstance(found, tuple) else (found,)) if one is not None]


def check(xp: Any, case: Case, dtype: str) -> list[np.ndarray]:
    """Compare the two; give the kernel's results."""
    found, wanted = results(xp, case), expected(case)
    relative = 2e-4 if dtype == "float32" else 1e-11
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        scale = float(np.abs(other[np.isfinite(other)]).max(initial=0.0)) if other.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(one, other, rtol=relative, atol=scale * relative, err_msg=case[0])
    return found


def reductions(dtype: str) -> Iterator[Case]:
    """Rows, columns, steps; one part and several; memory that begins between the wide loads."""
    forms: list[tuple[Any, dict[str, Any]]] = [
        (numbers(1, dtype=dtype), {"axis": 0}),
        (numbers(33, dtype=dtype), {}),
        (numbers(20_003, dtype=dtype), {}),
        (Offset(numbers(4097, dtype=dtype), 3), {}),
        (numbers(5, 1023, dtype=dtype), {"axis": 1, "keepdims": True}),
        (numbers(600, 37, dtype=dtype), {"axis": 0}),
        (numbers(3, 7, 5, dtype=dtype), {"axis": 1}),
        (numbers(4, 30, 35, dtype=dtype), {"axis": (0, 2)}),
        (Transposed(numbers(9, 40, dtype=dtype)), {"axis": 1}),
    ]
    for x, options in forms:
        for name in ("sum", "mean", "max", "min"):
            yield name, (x,), options
        yield "prod", (1 + plain_value(x).astype(dtype) / 1000,), options
        yield "var", (x,), {**options, "ddof": 0}
        for order in (1, 2, np.inf):
            yield "vector_norm", (x, order), options
        if not isinstance(options.get("axis"), tuple) and not isinstance(x, Transposed):
            yield "argmax", (x,), options
            yield "argmin", (x,), options


def rows(dtype: str) -> Iterator[Case]:
    """What works along the last axis: from one element to more than a block has threads."""
    for shape in [(1, 1), (3, 31), (2, 33), (4, 129), (2, 1023), (1, 2049)]:
        x, grad = numbers(*shape, dtype=dtype), numbers(*shape, dtype=dtype, seed=1)
        width = numbers(shape[1], dtype=dtype, seed=2)
        target, lse = integers(shape[1], shape[0]), numbers(shape[0], dtype=dtype, seed=3)
        one = numbers(shape[0], 1, dtype=dtype, seed=3)
        yield "softmax", (x,), {}
        yield "log_softmax", (x,), {}
        yield "softmax_backward", (grad, x), {}
        yield "log_softmax_backward", (grad, x), {}
        yield "logsumexp", (x, 1), {}
        yield "softmax_cross_entropy", (x, target), {}
        yield "softmax_cross_entropy_backward", (lse, x, target, lse), {}
        ignored = np.where(np.arange(shape[0]) == 1, -100, target)
        for mean in (True, False):
            yield "cross_entropy_total", (x, ignored, -100, mean), {}
            scale = np.array(0.5, dtype) if mean else None
            yield "cross_entropy_total_backward", (np.array(1.5, dtype), x, ignored, lse, scale, -100), {}
        yield "causal_softmax", (x,), {}
        yield "layer_norm", (x, width, width, 1e-5), {}
        yield "layer_norm", (Offset(x, 1), None, None, 1e-5), {}
        yield "layer_norm_backward", (grad, x, width, one, one), {}
    x, one = numbers(1030, 33, dtype=dtype), numbers(1030, 1, dtype=dtype)
    yield "layer_norm_backward", (x, x, None, one, one), {}


def channels(dtype: str) -> Iterator[Case]:
    for shape in [(1, 1, 1), (2, 3, 5), (3, 5, 35), (2, 2, 300), (3, 2, 4100)]:
        x, grad = numbers(*shape, dtype=dtype), numbers(*shape, dtype=dtype, seed=1)
        one, two = numbers(shape[1], dtype=dtype, seed=2), numbers(shape[1], dtype=dtype, seed=3)
        yield "batch_norm", (x, one, two, 1e-3), {}
        yield "batch_norm", (x, None, None, 1e-3), {}
        yield "batch_norm_backward", (grad, x, one, two, one), {}


def products(dtype: str) -> Iterator[Case]:
    for m, k, n in [(1, 1, 1), (3, 31, 20), (129, 9, 67), (33, 20, 132), (8, 64, 8)]:
        a, b = numbers(m, k, dtype=dtype), numbers(k, n, dtype=dtype, seed=1)
        for left in (a, Transposed(a)):
            for right in (b, Transposed(b)):
                yield "matmul", (left, right), {}
    yield "matmul", (Offset(numbers(36, 40, dtype=dtype), 1), Offset(numbers(40, 36, dtype=dtype), 2)), {}
    yield "matmul", (numbers(2, 1, 20, 9, dtype=dtype), Transposed(numbers(3, 9, 12, dtype=dtype))), {}


def windows(dtype: str) -> Iterator[Case]:
    forms: list[tuple[tuple[int, ...], dict[str, Any]]] = [
        ((1, 1, 3, 3), {"kernel": 1}),
        ((2, 2, 5, 4), {"kernel": (2, 3), "stride": (2, 1), "padding": (1, 0)}),
        ((1, 1, 6, 5), {"kernel": 2, "stride": 2, "padding": 1, "dilation": 2}),
        ((2, 3, 17, 15), {"kernel": 3, "stride": 1, "padding": 1}),
    ]
    for shape, options in forms:
        x = numbers(*shape, dtype=dtype)
        yield "im2col", (x,), options
        columns = expected(("im2col", (x,), options))[0].astype(dtype)
        yield "col2im", (columns, shape), options
        yield "max_pool2d", (x,), options
        y, places = expected(("max_pool2d", (x,), options))
        for window in (None, options):
            yield "max_pool2d_backward", (numbers(*y.shape, dtype=dtype), places, shape, window), {}
    for n, width, count in [(1, 1, 1), (7, 5, 3), (40, 33, 9), (30, 130, 4)]:
        yield "embedding_backward", (numbers(n, width, dtype=dtype), integers(count, n), count), {}


def convolutions(dtype: str) -> Iterator[Case]:
    """The convolution and its adjoints: in steps, with gaps, in groups, of one pixel, of sequences."""
    forms = [
        ((1, 1, 1, 1), (1, 1, 1, 1), Geometry((1, 1), (0, 0), (1, 1))),
        ((2, 3, 17, 15), (4, 3, 3, 3), Geometry((1, 1), (1, 1), (1, 1))),
        ((2, 2, 7, 6), (3, 2, 3, 2), Geometry((2, 3), (1, 0), (1, 1))),
        ((1, 2, 7, 7), (2, 2, 2, 3), Geometry((1, 2), (2, 1), (3, 2))),
        ((3, 4, 5, 5), (5, 4, 1, 1), Geometry((1, 1), (0, 0), (1, 1))),
        ((2, 4, 5, 5), (6, 2, 3, 3), Geometry((1, 1), (1, 1), (1, 1), 2)),
        ((2, 3, 9), (4, 3, 4), Geometry((2,), (3,), (1,))),
    ]
    for shape, form, geometry in forms:
        x, weight = numbers(*shape, dtype=dtype), numbers(*form, dtype=dtype, seed=1)
        bias = numbers(form[0], dtype=dtype, seed=2)
        yield "convolution", (x, weight, bias, geometry), {}
        yield "convolution", (x, weight, None, geometry), {}
        grad = numbers(shape[0], form[0], *geometry.places(shape[2:], form[2:]), dtype=dtype, seed=3)
        yield "convolution_input", (grad, weight, shape[2:], geometry), {}
        yield "convolution_weight", (x, grad, form[2:], geometry), {}


def all_cases(dtype: str) -> list[Case]:
    families = (reductions, rows, channels, products, windows, convolutions)
    return [case for family in families for case in family(dtype)]
