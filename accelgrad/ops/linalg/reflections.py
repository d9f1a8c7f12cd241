"""Products of Householder's reflections: householder_product, orgqr, ormqr, geqrf."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.linalg.decomposition import TALL
from accelgrad.ops.linalg.linalg import INTEGERS, TOO_FLAT, lapack, matrices, regular
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.return_types import named
from accelgrad.ops.shapes.fill import where

_GEQRF = named("geqrf", "a", "tau")


class Geqrf(Primitive):
    """A = Q R with R above the diagonal and, below it, the reflections whose product is Q."""

    @staticmethod
    def forward(ctx: Any, A: Any) -> Any:
        xp, stack = ctx.xp, A.shape[:-2]
        k = min(A.shape[-2:])
        # NumPy gives the transposed matrix, and CuPy takes one matrix at a time.
        found = [lapack(ctx).qr(A[place], "raw") for place in itertools.product(*map(range, stack))]
        if not found:
            return xp.copy(A), xp.zeros((*stack, k), dtype=A.dtype)
        factored = xp.reshape(xp.stack([h.T for h, _ in found]), A.shape)
        return factored, xp.reshape(xp.stack([tau for _, tau in found]), (*stack, k))

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise NotImplementedError(
            "the derivative for 'geqrf' is not implemented.  linalg.qr gives Q and R with their gradients"
        )


@op(
    primitive=Geqrf,
    samples=[sample(regular(3)), sample(TALL), sample(regular(2, batch=(2,))), sample(arg(0, 2, 2))],
    errors=[TOO_FLAT, INTEGERS],
    differentiable=False,
)
def geqrf(input: Tensor) -> Any:
    """The factors of QR as LAPACK keeps them: R above the diagonal, reflections below it; and their scales.

    ``householder_product(a, tau)`` is Q.  It has no gradient: use :func:`accelgrad.linalg.qr`.

    >>> import accelgrad
    >>> a, tau = accelgrad.geqrf(accelgrad.tensor([[3.0, 1.0], [4.0, 2.0]]))
    >>> a.triu().abs()
    tensor([[5.0000, 2.2000],
            [0.0000, 0.4000]])
    """
    matrices("geqrf", input, square=False)
    return _GEQRF(*Geqrf.apply(input))


def _reflected(A: Tensor, tau: Tensor, X: Tensor, order: Any) -> Tensor:
    """X after the reflections I - tau v v' of the columns of A, one after the other in ``order``."""
    raw, m = A.xp, A.array.shape[-2]
    below = A.array.dtype.type(1) * (raw.expand_dims(raw.arange(m), 1) > raw.arange(A.array.shape[-1]))
    V = A * wrap(below.astype(A.array.dtype), raw)
    V = V + wrap(raw.eye(m, A.array.shape[-1], dtype=A.array.dtype), raw)
    for k in order:
        v = V[..., k : k + 1]
        X = X - tau[..., k : k + 1, None] * v @ (v.transpose(-2, -1) @ X)
    return X


def _check(name: str, A: Tensor, tau: Tensor) -> None:
    matrices(name, A, square=False)
    if A.array.shape[-2] < A.array.shape[-1]:
        raise RuntimeError(
            f"linalg.{name}: input.shape[-2] must be greater than or equal to input.shape[-1],"
            f" got {tuple(A.array.shape)}"
        )
    if A.array.shape[-1] < tau.array.shape[-1]:
        raise RuntimeError(
            f"linalg.{name}: input.shape[-1] must be greater than or equal to tau.shape[-1],"
            f" got {A.array.shape[-1]} and {tau.array.shape[-1]}"
        )


def _numpy_product(A: Any, tau: Any) -> Any:
    if A.ndim > 2:
        return np.stack([_numpy_product(one, t) for one, t in zip(A, tau, strict=True)])
    Q = np.eye(A.shape[0])
    for k, scale in enumerate(tau):
        v = np.concatenate([np.zeros(k), [1.0], A[k + 1 :, k]])
        Q = Q @ (np.eye(len(v)) - scale * np.outer(v, v))
    return Q[:, : A.shape[1]]


@op(
    reference=_numpy_product,
    samples=[
        sample(arg(3, 3), arg(3)),
        sample(arg(4, 2), arg(2)),
        sample(arg(4, 3), arg(2)),
        sample(arg(2, 3, 2), arg(2, 2)),
        sample(arg(3, 2), arg(0, requires_grad=False)),
    ],
    errors=[
        (sample(arg(2, 3), arg(2)), RuntimeError, "must be greater than or equal to input.shape"),
        (sample(arg(3, 2), arg(3)), RuntimeError, "must be greater than or equal to tau.shape"),
    ],
    namespace="linalg",
    method=False,
)
def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first n columns of ``H_1 H_2 ... H_k`` with ``H_i = I - tau_i v_i v_i'``.

    A is (..., m, n), tau (..., k).  v_i is 0 above place i, 1 there, and below it column i of A.  So Q is
    computed from what :func:`accelgrad.geqrf` gives.

    >>> import accelgrad
    >>> accelgrad.linalg.householder_product(accelgrad.tensor([[9.0], [1.0]]), accelgrad.tensor([1.0]))
    tensor([[ 0.],
            [-1.]])
    """
    _check("householder_product", A, tau)
    raw, (m, n) = A.xp, A.array.shape[-2:]
    start = wrap(raw.copy(raw.broadcast_to(raw.eye(m, n, dtype=A.array.dtype), A.array.shape)), raw)
    if not tau.array.shape[-1]:  # the result still belongs to A, with a gradient of 0
        return where(wrap(raw.zeros((), dtype=bool), raw), A, start)
    return _reflected(A, tau, start, reversed(range(tau.array.shape[-1])))


@op(reference=_numpy_product, samples=[sample(arg(3, 2), arg(2))])
def orgqr(input: Tensor, tau: Tensor) -> Tensor:
    """:func:`accelgrad.linalg.householder_product` by its older name.

    >>> import accelgrad
    >>> accelgrad.orgqr(accelgrad.tensor([[9.0], [1.0]]), accelgrad.tensor([1.0]))
    tensor([[ 0.],
            [-1.]])
    """
    return householder_product(input, tau)


def _numpy_ormqr(A: Any, tau: Any, C: Any, left: bool = True, transpose: bool = False) -> Any:
    m = A.shape[0]
    square = np.concatenate([A, np.zeros((m, m - A.shape[1]))], axis=1)
    Q = _numpy_product(square, tau)
    Q = Q.T if transpose else Q
    return Q @ C if left else C @ Q


@op(
    reference=_numpy_ormqr,
    samples=[
        sample(arg(3, 2), arg(2), arg(3, 4)),
        sample(arg(3, 2), arg(2), arg(3, 4), True, True),
        sample(arg(3, 3), arg(3), arg(2, 3), left=False),
        sample(arg(3, 3), arg(3), arg(2, 3), left=False, transpose=True),
    ],
    errors=[
        (sample(arg(3, 2), arg(2), arg(2, 4)), RuntimeError, r"ormqr: other.shape\[-2\] must be equal to"),
    ],
)
def ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """``Q other`` (with ``left=False``: ``other Q``), Q the full product of the reflections in ``input``.

    ``transpose`` takes Q'.

    >>> import accelgrad
    >>> a, tau = accelgrad.geqrf(accelgrad.tensor([[3.0, 1.0], [4.0, 2.0]]))
    >>> accelgrad.ormqr(a, tau, a.triu())
    tensor([[3., 1.],
            [4., 2.]])
    """
    _check("ormqr", input, tau)
    extent = other.array.shape[-2 if left else -1]
    if extent != input.array.shape[-2]:
        raise RuntimeError(
            f"ormqr: other.shape[{-2 if left else -1}] must be equal to input.shape[-2],"
            f" got {extent} and {input.array.shape[-2]}"
        )
    count = range(tau.array.shape[-1])
    if left:
        return _reflected(input, tau, other, count if transpose else reversed(count))
    across = other.transpose(-2, -1)
    result = _reflected(input, tau, across, reversed(count) if transpose else count)
    return result.transpose(-2, -1)
