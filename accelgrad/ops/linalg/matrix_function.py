"""matrix_exp, and factorisations from random samples: svd_lowrank, pca_lowrank."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.linalg.decomposition import qr, svd
from accelgrad.ops.linalg.linalg import INTEGERS, NOT_SQUARE, TOO_FLAT, lapack, matrices, swapped
from accelgrad.ops.reductions.reduce import mean
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.shapes.shape import transpose

BOUND = 5.371920351148152
"""Up to this 1-norm the Padé approximant of degree 13 is exact to the rounding error of float64."""

PADE = [math.factorial(26 - j) // (math.factorial(j) * math.factorial(13 - j)) for j in range(14)]
"""Its coefficients, times 26! / 13!: Higham 2005, "The scaling and squaring method", equation 2.2."""


class MatrixExp(Primitive):
    """E = e^A;  dL/dA is the upper right block of exp [[A', dL/dE], [0, A']]

    Source: Higham 2008, "Functions of Matrices", equation 10.43 for the block, Algorithm 10.20 for e^A.
    """

    @staticmethod
    def forward(ctx: Any, A: Any) -> Any:
        ctx.save_for_backward(A)
        return _exponential(ctx, A.astype("float64", copy=False)).astype(A.dtype, copy=False)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        (A,) = ctx.saved_tensors
        n = A.shape[-1]
        across = swapped(xp, A)
        upper = xp.concatenate((across, grad), axis=-1)
        lower = xp.concatenate((xp.zeros_like(across), across), axis=-1)
        return xp.run(MatrixExp, xp.concatenate((upper, lower), axis=-2))[..., :n, n:]


def _exponential(ctx: Any, A: Any) -> Any:
    """A is divided by 2^s until the approximant is exact, whose value is then squared s times."""
    xp = ctx.xp
    if not A.size:
        return xp.copy(A)
    length = xp.max(xp.sum(xp.abs(A), axis=-2), axis=-1)
    squarings = xp.ceil(xp.log2(xp.maximum(length / BOUND, 1.0)))
    squarings = xp.expand_dims(xp.expand_dims(xp.where(xp.isfinite(squarings), squarings, 0), -1), -1)
    A = A / 2.0**squarings
    one = xp.eye(A.shape[-1], dtype=A.dtype)
    power, square = one, xp.matmul(A, A)
    even = odd = 0.0
    for j in range(0, 14, 2):
        even = even + PADE[j] / PADE[13] * power
        odd = odd + PADE[j + 1] / PADE[13] * power
        power = xp.matmul(power, square)
    odd = xp.matmul(A, odd)
    result = lapack(ctx).solve(even - odd, even + odd)
    for step in range(int(xp.max(squarings))):
        result = xp.where(step < squarings, xp.matmul(result, result), result)
    return result


def _numpy_exponential(A: Any) -> Any:
    """The series itself, in steps of A / 1024."""
    small = np.asarray(A, "float64") / 1024
    total = term = np.broadcast_to(np.eye(A.shape[-1]), A.shape)
    for k in range(1, 20):
        term = term @ small / k
        total = total + term
    for _ in range(10):
        total = total @ total
    return total.astype(A.dtype)


@op(
    primitive=MatrixExp,
    reference=_numpy_exponential,
    samples=[
        sample(arg(3, 3)),
        sample(arg(2, 2, 2)),
        sample(arg(1, 1)),
        sample(arg(2, 2, low=5, high=9)),
        sample(arg(2, 2, values=[[0.0, 0.0], [0.0, 0.0]])),
        sample(arg(0, 2, 2)),
    ],
    errors=[NOT_SQUARE, TOO_FLAT, INTEGERS],
    also=("linalg.matrix_exp",),
)
def matrix_exp(A: Tensor) -> Tensor:
    """``I + A + A²/2 + A³/6 + ...`` of square matrices (..., n, n).

    It maps matrices with ``A = -A'`` to rotations, and ``e^(tA) x`` solves ``dx/dt = A x``.

    >>> import accelgrad
    >>> accelgrad.matrix_exp(accelgrad.tensor([[0.0, 3.0], [0.0, 0.0]]))
    tensor([[1., 3.],
            [0., 1.]])
    """
    matrices("matrix_exp", A, low=True)
    return MatrixExp.apply(A)


def _range_of(A: Tensor, q: int, niter: int) -> Tensor:
    """Orthonormal columns that nearly span what A maps to.  Halko, Martinsson & Tropp 2011, Algorithm 4.4."""
    across = A.transpose(-2, -1)
    start = A.detach().new_empty((*A.array.shape[:-2], A.array.shape[-1], q)).normal_()
    Q = qr(A @ start).Q
    for _ in range(niter):
        Q = qr(A @ qr(across @ Q).Q).Q
    return Q


@op(
    samples=[sample(arg(6, 4), q=2), sample(arg(2, 4, 6), 3)],
    errors=[(sample(arg(3)), RuntimeError, "must have at least 2 dimensions")],
    random=True,
    differentiable=False,
    method=False,
    out=False,
)
def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None) -> Any:
    """U (..., m, q), S (..., q) and V (..., n, q) with ``A - M ≈ U diag(S) V'``, from q random samples.

    For large matrices of low rank; q a little larger than the rank.  Halko, Martinsson & Tropp 2011,
    Algorithm 5.1.

    >>> import accelgrad
    >>> U, S, V = accelgrad.svd_lowrank(accelgrad.ones(5, 3), q=1)
    >>> accelgrad.allclose(U * S @ V.T, accelgrad.ones(5, 3), atol=1e-5)
    True
    """
    matrices("svd_lowrank", A, square=False)
    if M is not None:
        A = A - M
    wide = A.array.shape[-2] < A.array.shape[-1]
    if wide:
        A = transpose(A, -2, -1)
    Q = _range_of(A, 6 if q is None else q, 2 if niter is None else niter)
    U, S, Vh = svd(transpose(Q, -2, -1) @ A, full_matrices=False)
    U, V = Q @ U, transpose(Vh, -2, -1)
    return (V, S, U) if wide else (U, S, V)


@op(
    samples=[sample(arg(6, 4), q=2), sample(arg(2, 6, 4), 3, center=False)],
    errors=[(sample(arg(3, 2), 3), ValueError, r"q\(=3\) must be non-negative integer and not greater than")],
    random=True,
    differentiable=False,
    method=False,
    out=False,
)
def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> Any:
    """The first q (by default at most 6) principal components of the rows of A (..., m, n): U, S, V.

    The columns of V are the directions of largest variance, ``S² / (m - 1)`` the variances; ``A @ V``
    projects onto them.  ``center`` subtracts the mean of each column first.

    >>> import accelgrad
    >>> points = accelgrad.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    >>> accelgrad.pca_lowrank(points, q=1)[2].abs()
    tensor([[0.7071],
            [0.7071]])
    """
    matrices("pca_lowrank", A, square=False)
    least = min(A.array.shape[-2:])
    if q is None:
        q = min(6, least)
    elif not 0 <= q <= least:
        raise ValueError(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)={least}:"
            " so many directions there are"
        )
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    if center:
        A = A - mean(A, -2, True)
    return svd_lowrank(A, q, niter=niter)
