"""Sampled functions: their integrals and derivatives by trapezoid, cumulative_trapezoid, gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.reductions.reduce import sum
from accelgrad.ops.reductions.scan import cumsum
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.dims import wrap_dim, wrap_dims
from accelgrad.ops.shapes.join import cat
from accelgrad.ops.shapes.shape import unsqueeze


def _along(x: Any, dim: int, start: int | None, stop: int | None) -> Any:
    return x[(slice(None),) * dim + (slice(start, stop),)]


def _areas(name: str, y: Tensor, x: Tensor | None, dx: Any, dim: int) -> tuple[Tensor, int]:
    """The area of every trapezoid between neighbours, and the dimension along which they lie."""
    if y.array.dtype.kind == "b":
        raise RuntimeError(f"{name}: received a bool input for `y`, but bool is not supported")
    if x is not None and dx is not None:
        raise RuntimeError(f"{name}: give either x, the places of the samples, or dx, their distance")
    axis = wrap_dim(dim, y.array.ndim)
    pairs = _along(y, axis, 1, None) + _along(y, axis, None, -1)
    if x is None:
        return pairs * ((1 if dx is None else dx) / 2), axis
    if x.array.ndim == 1:
        if x.array.shape[0] != y.array.shape[axis]:
            raise RuntimeError(
                f"{name}: There must be one `x` value for each sample point:"
                f" {x.array.shape[0]} for {y.array.shape[axis]}"
            )
        steps = x[1:] - x[:-1]
        steps = steps.reshape(-1, *[1] * (y.array.ndim - 1 - axis))
    else:
        while x.array.ndim < y.array.ndim:
            x = unsqueeze(x, 0)
        place = wrap_dim(dim, x.array.ndim)
        steps = _along(x, place, 1, None) - _along(x, place, None, -1)
    return pairs * steps / 2, axis


def _numpy_areas(y: Any, x: Any = None, *, dx: Any = None, dim: int = -1) -> Any:
    last = np.moveaxis(y, dim, -1)
    steps = (1 if dx is None else dx) if x is None else np.diff(x if x.ndim == 1 else np.moveaxis(x, dim, -1))
    return np.moveaxis((last[..., 1:] + last[..., :-1]) * steps / 2, -1, dim)


INTEGRALS = [
    sample(arg(2, 4)),
    sample(arg(2, 4), arg(4)),
    sample(arg(2, 4), arg(2, 4), dim=0),
    sample(arg(2, 4), dx=0.5, dim=0),
    sample(arg(3, 1)),
    sample(arg(4, dtype="int64")),
]
BAD_INTEGRALS = [
    (sample(arg(2, 4), arg(3)), RuntimeError, "There must be one `x` value for each sample point"),
    (sample(arg(4, dtype="bool")), RuntimeError, "received a bool input for `y`"),
    (sample(arg(4), arg(4), dx=1), RuntimeError, "give either x"),
]


@op(
    reference=lambda y, x=None, *, dx=None, dim=-1: _numpy_areas(y, x, dx=dx, dim=dim).sum(dim),
    samples=INTEGRALS,
    errors=BAD_INTEGRALS,
    method=False,
    aliases=("trapz",),
)
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1) -> Tensor:
    """The integral of samples ``y`` along ``dim``: the sum of ``(y_i + y_(i+1)) / 2`` times their distance.

    The samples lie at the places ``x`` (one for each sample along ``dim``, or in y's shape), or ``dx`` (by
    default 1) apart.

    >>> import accelgrad
    >>> accelgrad.trapezoid(accelgrad.tensor([1.0, 5.0, 10.0]))
    tensor(10.5000)
    """
    areas, axis = _areas("trapezoid", y, x, dx, dim)
    return sum(areas, axis)


@op(
    reference=lambda y, x=None, *, dx=None, dim=-1: _numpy_areas(y, x, dx=dx, dim=dim).cumsum(dim),
    samples=INTEGRALS,
    errors=BAD_INTEGRALS[:2],
    method=False,
)
def cumulative_trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: float | None = None, dim: int = -1
) -> Tensor:
    """:func:`trapezoid` from the first sample up to each of the others.

    >>> import accelgrad
    >>> accelgrad.cumulative_trapezoid(accelgrad.tensor([1.0, 5.0, 10.0]))
    tensor([ 3.0000, 10.5000])
    """
    areas, axis = _areas("cumulative_trapezoid", y, x, dx, dim)
    return cumsum(areas, axis)


def _numpy_gradient(x: Any, *, spacing: Any = 1, dim: Any = None, edge_order: Any = 1) -> Any:
    dims = tuple(range(x.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    spaces = spacing if isinstance(spacing, list | tuple) else (spacing,) * len(dims)
    return [
        np.gradient(x, space, axis=one, edge_order=edge_order)
        for space, one in zip(spaces, dims, strict=True)
    ]


@op(
    reference=_numpy_gradient,
    samples=[
        sample(arg(5)),
        sample(arg(4, 5)),
        sample(arg(4, 5), spacing=0.5, dim=1),
        sample(arg(4, 5), spacing=(2.0, 0.5)),
        sample(arg(4, 5), spacing=0.5, dim=(1,), edge_order=2),
        sample(arg(4, 3), spacing=[arg(4, values=[0.0, 1.0, 1.5, 4.0], requires_grad=False)], dim=0),
        sample(
            arg(4), spacing=[arg(4, values=[0.0, 1.0, 1.5, 4.0], requires_grad=False)], dim=0, edge_order=2
        ),
    ],
    errors=[
        (sample(arg(1)), RuntimeError, "expected each dimension size to be at least edge_order"),
        (sample(arg(4), edge_order=3), RuntimeError, "only supports edge_order=1 and edge_order=2"),
        (sample(arg(4), spacing=(1.0, 2.0)), RuntimeError, "expected spacing to be unspecified, a scalar"),
    ],
    method=False,
    out=False,
)
def gradient(
    input: Tensor,
    *,
    spacing: Any = 1,
    dim: int | Sequence[int] | None = None,
    edge_order: int = 1,
) -> list[Tensor]:
    """The derivatives of sampled values along all dimensions or ``dim``, a tensor for each.

    ``spacing``: the distance of the samples, a list of distances, or a list of tensors with their places.
    Central differences; at the ends one-sided differences of order ``edge_order``, 1 or 2.  Fornberg 1988.

    >>> import accelgrad
    >>> accelgrad.gradient(accelgrad.tensor([1.0, 4.0, 9.0, 16.0]))
    [tensor([3., 4., 6., 7.])]
    """
    if edge_order not in (1, 2):
        raise RuntimeError(f"gradient only supports edge_order=1 and edge_order=2, got {edge_order}")
    dims = range(input.array.ndim) if dim is None else wrap_dims(dim, input.array.ndim)
    spacing = 1 if spacing is None else spacing
    spaces = list(spacing) if isinstance(spacing, list | tuple) else [spacing] * len(dims)
    if len(spaces) != len(dims):
        raise RuntimeError(
            f"gradient expected spacing to be unspecified, a scalar or a list of length {len(dims)},"
            f" one for each dimension, but got a list of length {len(spaces)}"
        )
    results = []
    for one, space in zip(dims, spaces, strict=True):
        if input.array.shape[one] < edge_order + 1:
            raise RuntimeError(
                "gradient expected each dimension size to be at least edge_order+1,"
                f" got {input.array.shape[one]} in dimension {one}"
            )
        results.append(_derivative(input, one, space, edge_order))
    return results


def _derivative(y: Tensor, dim: int, space: Any, edge_order: int) -> Tensor:
    """Weights that are exact for parabolas through three neighbours, a and b their distances."""
    size = y.array.shape[dim]
    raw = y.xp
    kind = y.array.dtype if y.is_floating_point() else "float32"
    if isinstance(space, Tensor):
        places = raw.to_host(space.array).astype("float64")
    else:
        places = np.arange(size) * float(space)
    steps = np.diff(places).reshape(-1, *[1] * (y.array.ndim - 1 - dim))

    def part(start: int | None, stop: int | None) -> Tensor:
        return _along(y, dim, start, stop)

    def weight(values: np.ndarray) -> Tensor:
        return wrap(raw.from_host(np.asarray(values, dtype=kind)), raw)

    a, b = steps[:-1], steps[1:]
    parts = []
    if edge_order == 1 or size < 3:
        parts.append((part(1, 2) - part(0, 1)) * weight(1 / steps[:1]))
    else:
        a0, b0 = a[:1], b[:1]
        parts.append(
            part(0, 1) * weight(-(2 * a0 + b0) / (a0 * (a0 + b0)))
            + part(1, 2) * weight((a0 + b0) / (a0 * b0))
            - part(2, 3) * weight(a0 / (b0 * (a0 + b0)))
        )
    if size > 2:
        parts.append(
            part(2, None) * weight(a / (b * (a + b)))
            + part(1, -1) * weight((b - a) / (a * b))
            - part(None, -2) * weight(b / (a * (a + b)))
        )
    if edge_order == 1 or size < 3:
        parts.append((part(-1, None) - part(-2, -1)) * weight(1 / steps[-1:]))
    else:
        a1, b1 = a[-1:], b[-1:]
        parts.append(
            part(-3, -2) * weight(b1 / (a1 * (a1 + b1)))
            - part(-2, -1) * weight((a1 + b1) / (a1 * b1))
            + part(-1, None) * weight((2 * b1 + a1) / (b1 * (a1 + b1)))
        )
    return cat(parts, dim)
