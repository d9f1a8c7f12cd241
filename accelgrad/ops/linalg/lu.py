"""Gaussian elimination kept as factors: lu, lu_factor, lu_factor_ex, lu_solve."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.linalg.linalg import INTEGERS, TOO_FLAT, LinAlgError, Solve, matrices, regular, swapped
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import title
from accelgrad.ops.registry.return_types import named
from accelgrad.ops.shapes.expand import broadcast_to
from accelgrad.ops.shapes.gather import take_along_dim
from accelgrad.ops.shapes.shape import transpose


class LU(Primitive):
    """A = P L U with both factors in one matrix, L's ones left out, and the exchanges of rows that make P.

    With Φ the strictly lower and Ψ the upper triangle, square A:  dA = P L'⁻¹ (Φ(L' dL) + Ψ(dU U')) U'⁻¹
    (Walter & Lehmann 2018, "Algorithmic differentiation of linear algebra functions", section on LU).  What
    lies outside of the square is a solution with L or U, so it adds to dL or dU first.
    """

    @staticmethod
    def forward(ctx: Any, A: Any) -> Any:
        xp = ctx.xp
        m, n = A.shape[-2:]
        stack = A.shape[:-2]
        rows = xp.copy(xp.reshape(A, (math.prod(stack), m, n)))
        each = xp.arange(rows.shape[0])
        pivots = []
        for k in range(min(m, n)):
            # Golub & Van Loan 2013, Algorithm 3.4.1, for all matrices at once.
            largest = xp.argmax(xp.abs(rows[:, k:, k]), axis=1) + k
            upper = xp.copy(rows[:, k])
            rows[:, k] = rows[each, largest]
            rows[each, largest] = upper
            pivot = rows[:, k : k + 1, k]
            factors = rows[:, k + 1 :, k] / xp.where(pivot == 0, 1, pivot)
            rows[:, k + 1 :, k] = factors
            rows[:, k + 1 :, k + 1 :] -= xp.expand_dims(factors, 2) * rows[:, k : k + 1, k + 1 :]
            pivots.append(largest + 1)
        factored = xp.reshape(rows, A.shape)
        numbers = xp.stack(pivots, axis=1) if pivots else xp.zeros((rows.shape[0], 0))
        numbers = xp.reshape(numbers, (*stack, min(m, n))).astype("int32")
        ctx.order = _order(xp, numbers, m)
        ctx.save_for_backward(factored)
        return factored, numbers

    @staticmethod
    def backward(ctx: Any, grad: Any, _: Any) -> Any:
        xp = ctx.xp
        (factored,) = ctx.saved_tensors
        raw = getattr(ctx, "context", ctx).xp
        m, n = factored.shape[-2:]
        k = min(m, n)
        kind = getattr(factored.dtype, "numpy", factored.dtype)
        upper = raw.triu(raw.ones((k, k), dtype=kind))
        strict = 1 - upper
        L = factored[..., :k, :k] * strict + raw.eye(k, dtype=kind)
        U = factored[..., :k, :k] * upper
        grad_L, grad_U = grad[..., :k, :k] * strict, grad[..., :k, :k] * upper
        beside = below = None
        if n > m:
            beside = xp.run(Solve, swapped(xp, L), grad[..., m:])
            grad_L = grad_L - xp.matmul(beside, swapped(xp, factored[..., m:])) * strict
        if m > n:
            below = swapped(xp, xp.run(Solve, U, swapped(xp, grad[..., n:, :])))
            grad_U = grad_U - xp.matmul(swapped(xp, factored[..., n:, :]), below) * upper
        inner = xp.matmul(swapped(xp, L), grad_L) * strict + xp.matmul(grad_U, swapped(xp, U)) * upper
        inner = xp.run(Solve, swapped(xp, L), inner)
        result = swapped(xp, xp.run(Solve, U, swapped(xp, inner)))
        if beside is not None:
            result = xp.concatenate((result, beside), axis=-1)
        if below is not None:
            result = xp.concatenate((result, below), axis=-2)
        back = raw.expand_dims(raw.argsort(ctx.order, axis=-1), -1)
        return xp.take_along_axis(result, raw.broadcast_to(back, (*back.shape[:-1], n)), axis=-2)


def _order(xp: Any, pivots: Any, m: int) -> Any:
    """The row of A that each row of L U is, from the exchanges: (..., m)."""
    stack = pivots.shape[:-1]
    swaps = xp.reshape(pivots, (math.prod(stack), pivots.shape[-1])) - 1
    each = xp.arange(swaps.shape[0])
    order = xp.copy(xp.broadcast_to(xp.arange(m), (swaps.shape[0], m)))
    for k in range(swaps.shape[1]):
        here = xp.copy(order[:, k])
        order[:, k] = order[each, swaps[:, k]]
        order[each, swaps[:, k]] = here
    return xp.reshape(order, (*stack, m))


def _exchanged(x: Tensor, order: Any) -> Tensor:
    """The rows of ``x`` (..., m, n) in another order (..., m), with stacks broadcast."""
    raw = x.xp
    stack = raw.broadcast_shapes(x.array.shape[:-2], order.shape[:-1])
    shape = (*stack, *x.array.shape[-2:])
    index = raw.broadcast_to(raw.expand_dims(order, -1), shape)
    return take_along_dim(broadcast_to(x, shape), wrap(index, raw), -2)


def parts(factored: Tensor) -> tuple[Tensor, Tensor]:
    """The two factors in one matrix taken apart: L (..., m, k) and U (..., k, n)."""
    raw, kind = factored.xp, factored.array.dtype
    m, n = factored.array.shape[-2:]
    k = min(m, n)
    lower = raw.tril(raw.ones((m, k), dtype=bool), -1).astype(kind)
    upper = raw.triu(raw.ones((k, n), dtype=bool)).astype(kind)
    L = factored[..., :k] * wrap(lower, raw) + wrap(raw.eye(m, k, dtype=kind), raw)
    return L, factored[..., :k, :] * wrap(upper, raw)


def permutation(factored: Tensor, pivots: Any) -> Tensor:
    """The matrix P (..., m, m) of the exchanges of rows."""
    raw, m = factored.xp, factored.array.shape[-2]
    order = _order(raw, pivots, m)
    places = raw.expand_dims(raw.arange(m), -1) == raw.expand_dims(order, -2)
    return wrap(places.astype(factored.array.dtype), raw)


def _pivoting(name: str, A: Tensor, pivot: bool) -> None:
    matrices(name, A, square=False)
    if not pivot:
        raise RuntimeError(
            f"linalg.{name}: LU without pivoting is not implemented on the CPU;"
            " leave pivot=True, which is also the stable way"
        )


def _info(factored: Tensor) -> Any:
    """For each matrix 0, or the number of the first zero on U's diagonal."""
    raw = factored.xp
    diagonal = raw.diagonal(factored.array, 0, -2, -1)
    if not diagonal.shape[-1]:
        return raw.zeros(diagonal.shape[:-1], dtype="int32")
    zero = diagonal == 0
    return raw.asarray(raw.where(raw.any(zero, axis=-1), raw.argmax(zero, axis=-1) + 1, 0), dtype="int32")


_LU = named("linalg_lu", "P", "L", "U")
_FACTOR = named("linalg_lu_factor", "LU", "pivots")
_FACTOR_EX = named("linalg_lu_factor_ex", "LU", "pivots", "info")

TALL = arg(3, 2, values=[[1.0, 2.0], [4.0, -1.0], [2.0, 0.5]])
WIDE = arg(2, 3, values=[[1.0, 2.0, 0.3], [4.0, -1.0, 0.7]])
SHAPES = [
    sample(regular(3)),
    sample(TALL),
    sample(WIDE),
    sample(regular(2, batch=(2,))),
    sample(arg(0, 2, 2)),
]
WITHOUT = (sample(regular(2), pivot=False), RuntimeError, "LU without pivoting is not implemented on the CPU")


def _numpy_lu(A: Any) -> Any:
    """P, L and U of one matrix or of a stack, element by element."""
    if A.ndim > 2:
        found = [_numpy_lu(one) for one in A]
        m, n = A.shape[-2:]
        shapes = ((m, m), (m, min(m, n)), (min(m, n), n))
        return tuple(
            np.array([one[i] for one in found], A.dtype).reshape(-1, *shape) for i, shape in enumerate(shapes)
        )
    m, n = A.shape
    k = min(m, n)
    order, U, L = list(range(m)), A.copy(), np.eye(m, k, dtype=A.dtype)
    for j in range(k):
        best = j + int(np.abs(U[j:, j]).argmax())
        order[j], order[best] = order[best], order[j]
        U[[j, best]] = U[[best, j]]
        L[[j, best], :j] = L[[best, j], :j]
        for i in range(j + 1, m):
            L[i, j] = U[i, j] / U[j, j]
            U[i] -= L[i, j] * U[j]
    return np.eye(m, dtype=A.dtype)[:, order], L, np.triu(U[:k])


@op(
    primitive=LU,
    reference=_numpy_lu,
    samples=SHAPES,
    errors=[TOO_FLAT, INTEGERS, WITHOUT],
    namespace="linalg",
    method=False,
)
def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """``A = P L U``: a permutation, a lower triangle with ones on its diagonal, an upper triangle.

    A is (..., m, n), P (..., m, m), L (..., m, k), U (..., k, n), k the smaller of m and n.

    >>> import accelgrad
    >>> accelgrad.linalg.lu(accelgrad.tensor([[1.0, 2.0], [2.0, 6.0]])).U
    tensor([[ 2.,  6.],
            [ 0., -1.]])
    """
    _pivoting("lu", A, pivot)
    factored, pivots = LU.apply(A)
    return _LU(permutation(factored, pivots.array), *parts(factored))


@op(
    primitive=LU,
    samples=SHAPES,
    errors=[
        TOO_FLAT,
        INTEGERS,
        WITHOUT,
        (
            sample(arg(2, 2, low=0, high=1e-9, values=[[0.0, 0.0], [0.0, 1.0]])),
            RuntimeError,
            r"U\[1,1\] is zero",
        ),
    ],
    namespace="linalg",
    method=False,
)
def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """Return the factors of :func:`lu` in one matrix of A's shape, and the pivots.

    Row i was exchanged with row ``pivots[i] - 1``.

    For :func:`lu_solve`, which needs U to be regular: RuntimeError where its diagonal holds a 0.

    >>> import accelgrad
    >>> accelgrad.linalg.lu_factor(accelgrad.tensor([[1.0, 2.0], [2.0, 6.0]]))
    accelgrad.return_types.linalg_lu_factor(
    LU=tensor([[ 2.0000,  6.0000],
            [ 0.5000, -1.0000]]),
    pivots=tensor([2, 2], dtype=accelgrad.int32))
    """
    _pivoting("lu_factor", A, pivot)
    factored, pivots = LU.apply(A)
    if A.xp.looks:
        bad = _info(factored)
        if bad.any():
            first = int(bad[bad > 0].reshape(-1)[0])
            raise LinAlgError(
                f"linalg.lu_factor: U[{first},{first}] is zero"
                " and using it on lu_solve would result in a division by zero."
                " If you still want to perform the factorization, consider calling linalg.lu(A,"
                " pivot) or linalg.lu_factor_ex(A, pivot)"
            )
    return _FACTOR(factored, pivots)


@op(
    primitive=LU,
    samples=[*SHAPES, sample(arg(2, 2, values=[[0.0, 0.0], [0.0, 1.0]], requires_grad=False))],
    errors=[WITHOUT],
    namespace="linalg",
    method=False,
)
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """:func:`lu_factor` with a third result: 0, or the number of the first zero on the diagonal of U.

    >>> import accelgrad
    >>> accelgrad.linalg.lu_factor_ex(accelgrad.zeros(2, 2)).info
    tensor(1, dtype=accelgrad.int32)
    """
    if check_errors:
        lu_factor(A, pivot=pivot)
    _pivoting("lu_factor_ex", A, pivot)
    factored, pivots = LU.apply(A)
    return _FACTOR_EX(factored, pivots, wrap(_info(factored), A.xp))


def numpy_lu_solve(factored: Any, pivots: Any, B: Any, *, left: bool = True, adjoint: bool = False) -> Any:
    if factored.ndim > 2:
        return np.stack(
            [
                numpy_lu_solve(*one, left=left, adjoint=adjoint)
                for one in zip(factored, pivots, B, strict=True)
            ]
        )
    size = factored.shape[-1]
    A = (np.tril(factored, -1) + np.eye(size)) @ np.triu(factored)
    for k in reversed(range(size)):
        A[[k, pivots[k] - 1]] = A[[pivots[k] - 1, k]]
    A = A.T if adjoint else A
    return np.linalg.solve(A, B) if left else np.linalg.solve(A.T, B.T).T


PIVOTS = arg(3, values=[3, 3, 3], dtype="int32")


@op(
    primitive=Solve,
    reference=numpy_lu_solve,
    samples=[
        sample(regular(3), PIVOTS, arg(3, 2)),
        sample(regular(3), PIVOTS, arg(3, 2), adjoint=True),
        sample(regular(3), PIVOTS, arg(2, 3), left=False),
        sample(regular(3), PIVOTS, arg(2, 3), left=False, adjoint=True),
        sample(regular(2, batch=(2,)), arg(2, 2, values=[[2, 2], [1, 2]], dtype="int32"), arg(2, 2, 1)),
    ],
    errors=[
        (
            sample(arg(2, 2), arg(2, dtype="int64"), arg(2, 1)),
            RuntimeError,
            "pivots should be a Tensor of scalar",
        ),
        (
            sample(regular(2), arg(2, values=[1, 2], dtype="int32"), arg(3, 2)),
            RuntimeError,
            "linalg.lu_solve: Incompatible shapes of A and B for the equation AX = B",
        ),
    ],
    namespace="linalg",
    method=False,
)
def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """The X with ``A X = B`` from :func:`lu_factor`'s results for A: to solve many systems with one matrix.

    ``left=False``: ``X A = B``; ``adjoint``: with A transposed.

    >>> import accelgrad
    >>> LU, pivots = accelgrad.linalg.lu_factor(accelgrad.tensor([[1.0, 2.0], [2.0, 6.0]]))
    >>> accelgrad.linalg.lu_solve(LU, pivots, accelgrad.tensor([[3.0], [8.0]]))
    tensor([[1.],
            [1.]])
    """
    matrices("lu_solve", LU, letter="LU")
    if pivots.array.dtype != "int32":
        raise RuntimeError(
            "linalg.lu_solve: pivots should be a Tensor of scalar type accelgrad.int32,"
            f" as lu_factor gives them, got {title(pivots.array)}"
        )
    if not left:
        return transpose(lu_solve(LU, pivots, transpose(B, -2, -1), adjoint=not adjoint), -2, -1)
    if LU.array.shape[-1] != B.array.shape[-2]:
        size = LU.array.shape[-1]
        raise RuntimeError(
            f"linalg.lu_solve: Incompatible shapes of A and B for the equation AX = B ({size}x{size}"
            f" and {B.array.shape[-2]}x{B.array.shape[-1]})"
        )
    raw = LU.xp
    order = _order(raw, pivots.array, LU.array.shape[-1])
    L, U = parts(LU)
    if adjoint:
        X = Solve.apply(transpose(L, -2, -1), Solve.apply(transpose(U, -2, -1), B))
        return _exchanged(X, raw.argsort(order, axis=-1))
    return Solve.apply(U, Solve.apply(L, _exchanged(B, order)))
