"""PyTorch's older names at the top level: norm, inverse, det, slogdet, qr, svd, cholesky, pinverse ..."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad.arrays.dtypes import dtype as Dtype
from accelgrad.core.tensor import Tensor
from accelgrad.ops.creation.create import eye
from accelgrad.ops.linalg import decomposition, linalg
from accelgrad.ops.linalg import lu as lu_file
from accelgrad.ops.linalg.decomposition import QR, RECTANGLES, SVD, TALL, pinv
from accelgrad.ops.linalg.linalg import (
    NOT_SQUARE,
    POSITIVE,
    SQUARE,
    Cholesky,
    Det,
    Inverse,
    Solve,
    cholesky_solve,
    inv,
    matrices,
    regular,
)
from accelgrad.ops.linalg.lu import (
    LU,
    PIVOTS,
    SHAPES,
    lu_factor,
    lu_factor_ex,
    numpy_lu_solve,
    parts,
    permutation,
)
from accelgrad.ops.linalg.norms import VectorNorm, matrix_norm, numpy_vector_norm, vector_norm
from accelgrad.ops.pointwise.arithmetic import sub
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.dims import Dims, reducing
from accelgrad.ops.registry.return_types import named
from accelgrad.ops.shapes.shape import transpose


def _norm_reference(x: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False) -> Any:
    return reducing(numpy_vector_norm)(x, dim, keepdim, ord=2 if p in ("fro", None) else p)


@op(
    primitive=VectorNorm,
    reference=_norm_reference,
    samples=[
        sample(arg(2, 3)),
        sample(arg(2, 3), 1),
        sample(arg(2, 3), 3, 1, True),
        sample(arg(2, 3, distinct=True), math.inf),
        sample(arg(2, 3), dim=0),
        sample(arg()),
    ],
    errors=[
        (sample(arg(2, dtype="int64")), RuntimeError, "Expected a floating point or complex tensor as input")
    ],
)
def norm(
    input: Tensor,
    p: float | str | None = "fro",
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: Dtype | None = None,
) -> Tensor:
    """The norm ``(sum |x|^p)^(1/p)`` over all elements or over ``dim``.

    "fro" is p = 2, "nuc" the sum of singular values.

    The gradient is 0 where the norm is 0.  New code: :func:`accelgrad.linalg.vector_norm`, ``matrix_norm``.

    >>> import accelgrad
    >>> accelgrad.norm(accelgrad.tensor([3.0, 4.0]))
    tensor(5.)
    """
    if p == "nuc":
        where = (-2, -1) if dim is None else dim
        return matrix_norm(input, "nuc", where, keepdim, dtype=dtype)
    return vector_norm(input, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype)


@op(
    reference=lambda x, y, p=2: numpy_vector_norm(x - y, ord=p),
    samples=[sample(arg(2, 3), arg(3)), sample(arg(3), arg(3), 1)],
)
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The norm of the difference, ``norm(input - other, p)``, as a 0-d tensor.

    >>> import accelgrad
    >>> accelgrad.dist(accelgrad.tensor([3.0, 4.0]), accelgrad.zeros(2))
    tensor(5.)
    """
    return vector_norm(sub(input, other), p)


@op(primitive=Inverse, reference=np.linalg.inv, samples=SQUARE[:2], errors=[NOT_SQUARE])
def inverse(input: Tensor) -> Tensor:
    """The inverse of square matrices: :func:`accelgrad.linalg.inv`.

    >>> import accelgrad
    >>> accelgrad.inverse(accelgrad.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    return inv(input)


@op(primitive=Det, reference=np.linalg.det, samples=SQUARE[:2], errors=[NOT_SQUARE])
def det(input: Tensor) -> Tensor:
    """The determinant of square matrices: :func:`accelgrad.linalg.det`.

    >>> import accelgrad
    >>> accelgrad.det(accelgrad.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor(8.)
    """
    return linalg.det(input)


@op(reference=lambda A: tuple(np.linalg.slogdet(A)), samples=SQUARE[:2], errors=[NOT_SQUARE])
def slogdet(input: Tensor) -> Any:
    """The sign and the logarithm of the absolute determinant: :func:`accelgrad.linalg.slogdet`.

    >>> import accelgrad
    >>> accelgrad.slogdet(accelgrad.tensor([[2.0, 0.0], [0.0, -4.0]]))[0]
    tensor(-1.)
    """
    return linalg.slogdet(input)


@op(primitive=Cholesky, reference=np.linalg.cholesky, samples=POSITIVE[:2], errors=[NOT_SQUARE])
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """The Cholesky factor: :func:`accelgrad.linalg.cholesky`.

    >>> import accelgrad
    >>> accelgrad.cholesky(accelgrad.tensor([[4.0, 0.0], [0.0, 9.0]]))
    tensor([[2., 0.],
            [0., 3.]])
    """
    return linalg.cholesky(input, upper=upper)


@op(
    primitive=Solve,
    reference=lambda L, upper=False: np.linalg.inv(
        np.triu(L).T @ np.triu(L) if upper else np.tril(L) @ np.tril(L).T
    ),
    samples=[sample(regular(3, lower=True))],
    errors=[NOT_SQUARE],
)
def cholesky_inverse(input: Tensor, upper: bool = False) -> Tensor:
    """The inverse of ``L L'`` from its Cholesky factor L (with ``upper``: of ``L' L``).

    >>> import accelgrad
    >>> accelgrad.cholesky_inverse(accelgrad.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.2500, 0.0000],
            [0.0000, 0.0625]])
    """
    matrices("cholesky_inverse", input, letter="L")
    one = eye(input.array.shape[-1], dtype=input.dtype, device=input.device)
    return cholesky_solve(one, input, upper)


@op(primitive=QR, reference=lambda A, some=True: tuple(np.linalg.qr(A)), samples=RECTANGLES[:2])
def qr(input: Tensor, some: bool = True) -> Any:
    """``A = Q R``: :func:`accelgrad.linalg.qr`, reduced if ``some``, else complete.

    >>> import accelgrad
    >>> [one.shape for one in accelgrad.qr(accelgrad.ones(3, 2))]
    [accelgrad.Size([3, 2]), accelgrad.Size([2, 2])]
    """
    return decomposition.qr(input, "reduced" if some else "complete")


_SVD = named("svd", "U", "S", "V")


def _svd_reference(A: Any, some: bool = True) -> Any:
    U, S, Vh = np.linalg.svd(A, full_matrices=not some)
    return U, S, np.swapaxes(Vh, -1, -2)


@op(primitive=SVD, reference=_svd_reference, samples=RECTANGLES[:2], torch="none")  # signs are free
def svd(input: Tensor, some: bool = True) -> Any:
    """``A = U diag(S) V'`` as a named tuple (U, S, V), reduced if ``some``.

    :func:`accelgrad.linalg.svd` gives V'.

    >>> import accelgrad
    >>> accelgrad.svd(accelgrad.tensor([[3.0, 0.0], [0.0, 4.0]])).S
    tensor([4., 3.])
    """
    U, S, Vh = decomposition.svd(input, not some)
    return _SVD(U, S, transpose(Vh, -2, -1))


@op(reference=np.linalg.pinv, samples=[sample(TALL), sample(regular(2))])
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """Moore and Penrose's inverse: :func:`accelgrad.linalg.pinv`.

    >>> import accelgrad
    >>> accelgrad.pinverse(accelgrad.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    return pinv(input, rtol=rcond)


_UNPACK = named("lu_unpack", "P", "L", "U")


@op(
    primitive=LU,
    samples=SHAPES,
    errors=[(sample(regular(2), False), RuntimeError, "LU without pivoting is not implemented")],
)
def lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """The factors of a matrix in one and the pivots.

    With ``get_infos`` also the number that tells of failure.

    New code: :func:`accelgrad.linalg.lu_factor` and :func:`accelgrad.linalg.lu_factor_ex`.

    >>> import accelgrad
    >>> accelgrad.lu(accelgrad.tensor([[1.0, 2.0], [2.0, 6.0]]))[1]
    tensor([2, 2], dtype=accelgrad.int32)
    """
    factor = lu_factor_ex if get_infos else lu_factor
    return tuple(factor(A, pivot=pivot))


@op(
    primitive=Solve,
    reference=lambda b, LU_data, LU_pivots: numpy_lu_solve(LU_data, LU_pivots, b),
    samples=[sample(arg(3, 2), regular(3), PIVOTS)],
)
def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """:func:`accelgrad.linalg.lu_solve` with its arguments in the older order.

    >>> import accelgrad
    >>> LU, pivots = accelgrad.linalg.lu_factor(accelgrad.tensor([[2.0]]))
    >>> accelgrad.lu_solve(accelgrad.tensor([[4.0]]), LU, pivots)
    tensor([[2.]])
    """
    return lu_file.lu_solve(LU_data, LU_pivots, b)


@op(
    samples=[
        sample(regular(3), PIVOTS),
        sample(TALL, arg(3, values=[2, 3, 3], dtype="int32")),
        sample(arg(2, 3), arg(2, values=[2, 2], dtype="int32")),
    ],
    errors=[
        (sample(arg(2, 2), arg(2, dtype="int64")), RuntimeError, "LU_pivots is expected to be a contiguous")
    ],
    method=False,
)
def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> Any:
    """P, L and U from what :func:`accelgrad.linalg.lu_factor` gives; empty tensors for what is not wanted.

    >>> import accelgrad
    >>> P, L, U = accelgrad.lu_unpack(*accelgrad.linalg.lu_factor(accelgrad.tensor([[1.0, 2.0], [2.0, 6.0]])))
    >>> P @ L @ U
    tensor([[1., 2.],
            [2., 6.]])
    """
    if unpack_pivots and LU_pivots.array.dtype != "int32":
        raise RuntimeError(
            "lu_unpack: LU_pivots is expected to be a contiguous tensor of int32 dtype, as lu_factor gives it"
        )
    nothing = LU_data.detach().new_empty(0)
    L, U = parts(LU_data) if unpack_data else (nothing, nothing)
    return _UNPACK(permutation(LU_data, LU_pivots.array) if unpack_pivots else nothing, L, U)
