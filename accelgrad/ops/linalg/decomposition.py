"""Factorisations: qr, svd, eigh and what is built on them: pinv, lstsq, matrix_rank.

All of them take batches.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.linalg.linalg import (
    INTEGERS,
    NOT_SQUARE,
    TOO_FLAT,
    LinAlgError,
    Solve,
    lapack,
    matrices,
    regular,
    swapped,
    triangle,
)
from accelgrad.ops.pointwise.elementwise import square
from accelgrad.ops.reductions.reduce import sum
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.return_types import named
from accelgrad.ops.shapes.fill import where
from accelgrad.ops.shapes.shape import squeeze, transpose, unsqueeze


def _eye(ctx: Any, size: int, kind: Any) -> Any:
    raw = getattr(ctx, "context", ctx).xp
    return raw.eye(size, dtype=getattr(kind, "numpy", kind))


def _row(xp: Any, s: Any) -> Any:
    return xp.expand_dims(s, -2)


def _column(xp: Any, s: Any) -> Any:
    return xp.expand_dims(s, -1)


class QR(Primitive):
    """A = Q R, reduced.

    With M = R dR' - dQ' Q and C(M) = M's lower triangle mirrored: dA = (dQ + Q C(M)) R'⁻¹.

    Source: Walter & Lehmann 2018, "Algorithmic differentiation of linear algebra functions", section on QR; a
    wide A = [X Y] has R = [U V] with V = Q' Y, after which X = Q U is the square case.
    """

    @staticmethod
    def forward(ctx: Any, A: Any, *, mode: str) -> Any:
        Q, R = lapack(ctx).qr(A, mode)
        ctx.save_for_backward(A, Q, R)
        return Q, R

    @staticmethod
    def backward(ctx: Any, grad_Q: Any, grad_R: Any) -> Any:
        xp = ctx.xp
        A, Q, R = ctx.saved_tensors
        m, n = A.shape[-2], A.shape[-1]
        if Q.shape[-1] > n:
            raise RuntimeError(
                "linalg.qr: the gradient of mode='complete' is defined for matrices"
                f" with at least as many columns as rows only, not for {m} by {n}; use mode='reduced'"
            )
        if m >= n:
            return _tall(ctx, grad_Q, grad_R, Q, R)
        Y, grad_V = A[..., m:], grad_R[..., m:]
        grad_Q = grad_Q + xp.matmul(Y, swapped(xp, grad_V))
        grad_X = _tall(ctx, grad_Q, grad_R[..., :m], Q, R[..., :m])
        return xp.concatenate((grad_X, xp.matmul(Q, grad_V)), axis=-1)


def _tall(ctx: Any, grad_Q: Any, grad_R: Any, Q: Any, R: Any) -> Any:
    xp = ctx.xp
    M = xp.matmul(R, swapped(xp, grad_R)) - xp.matmul(swapped(xp, grad_Q), Q)
    lower = M * triangle(ctx, R.shape[-1], R.dtype, diagonal=0.5)
    S = grad_Q + xp.matmul(Q, lower + swapped(xp, lower))
    return swapped(xp, xp.run(Solve, R, swapped(xp, S)))


class SVD(Primitive):
    """A = U S V'.  With F_ij = 1 / (s_j² - s_i²), 0 on the diagonal:

    dA = U ((F ∘ (U' dU - dU' U)) S + S (F ∘ (V' dV - dV' V)) + dS) V' + (I - U U') dU S⁻¹ V' + U S⁻¹ dV' (I -
    V V')

    Source: Giles 2008, section 3.2, with the terms for the singular vectors of Townsend 2016,
    "Differentiating the SVD".
    """

    @staticmethod
    def forward(ctx: Any, A: Any, *, full: bool) -> Any:
        U, S, Vh = lapack(ctx).svd(A, full_matrices=full)
        ctx.save_for_backward(A, U, S, Vh)
        return U, S, Vh

    @staticmethod
    def backward(ctx: Any, grad_U: Any, grad_S: Any, grad_Vh: Any) -> Any:
        xp = ctx.xp
        A, U, S, Vh = ctx.saved_tensors
        k = S.shape[-1]
        U, grad_U, Vh, grad_Vh = U[..., :k], grad_U[..., :k], Vh[..., :k, :], grad_Vh[..., :k, :]
        V, grad_V = swapped(xp, Vh), swapped(xp, grad_Vh)
        one = _eye(ctx, k, S.dtype)
        difference = _row(xp, S * S) - _column(xp, S * S)
        F = 1 / (difference + one) * (1 - one)
        from_U = xp.matmul(swapped(xp, U), grad_U)
        from_V = xp.matmul(swapped(xp, V), grad_V)
        middle = F * (from_U - swapped(xp, from_U)) * _row(xp, S) + _column(xp, S) * (
            F * (from_V - swapped(xp, from_V))
        )
        middle = middle + _row(xp, grad_S) * one
        result = xp.matmul(xp.matmul(U, middle), Vh)
        if A.shape[-2] > k:
            outside = (grad_U - xp.matmul(U, from_U)) / _row(xp, S)
            result = result + xp.matmul(outside, Vh)
        if A.shape[-1] > k:
            outside = (grad_V - xp.matmul(V, from_V)) / _row(xp, S)
            result = result + xp.matmul(U, swapped(xp, outside))
        return result

    @staticmethod
    def explain(error: Exception, arrays: list[Any]) -> Exception:
        if type(error).__name__ != "LinAlgError":
            return error
        return LinAlgError(
            "linalg.svd: The algorithm failed to converge"
            " because the input matrix contained non-finite values."
        )


class SingularValues(Primitive):
    """S of A = U S V',  dL/dA = U dL/dS V'"""

    @staticmethod
    def forward(ctx: Any, A: Any) -> Any:
        ctx.save_for_backward(A)
        return lapack(ctx).svd(A, compute_uv=False)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        (A,) = ctx.saved_tensors
        U, _, Vh = xp.run(SVD, A, full=False)
        return xp.matmul(U * _row(xp, grad), Vh)

    @staticmethod
    def explain(error: Exception, arrays: list[Any]) -> Exception:
        return SVD.explain(error, arrays)


class Eigh(Primitive):
    """A = V Λ V' for symmetric A,  dA = V (dΛ + F ∘ (V' dV)) V' with F_ij = 1 / (λ_j - λ_i).

    Source: Giles 2008, section 3.1.
    """

    @staticmethod
    def forward(ctx: Any, A: Any, *, UPLO: str) -> Any:
        w, V = lapack(ctx).eigh(A, UPLO)
        ctx.save_for_backward(w, V)
        return w, V

    @staticmethod
    def backward(ctx: Any, grad_w: Any, grad_V: Any) -> Any:
        xp = ctx.xp
        w, V = ctx.saved_tensors
        one = _eye(ctx, w.shape[-1], w.dtype)
        F = 1 / (_row(xp, w) - _column(xp, w) + one) * (1 - one)
        across = swapped(xp, V)
        middle = F * xp.matmul(across, grad_V) + _row(xp, grad_w) * one
        return xp.matmul(xp.matmul(V, middle), across)


class Pinv(Primitive):
    """B = A⁺,  dL/dA = -B' G B' + (I - A B) G' B B' + B' B G' (I - B A) with G = dL/dB.

    Source: Golub & Pereyra 1973.
    """

    @staticmethod
    def forward(ctx: Any, A: Any, *, rtol: float | None) -> Any:
        B = lapack(ctx).pinv(A, rcond=_rtol(A, rtol))
        ctx.save_for_backward(A, B)
        return B

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        A, B = ctx.saved_tensors
        Bt, Gt = swapped(xp, B), swapped(xp, grad)
        first = xp.matmul(Bt, xp.matmul(grad, Bt))
        left = xp.matmul(Gt, xp.matmul(B, Bt))
        right = xp.matmul(xp.matmul(Bt, B), Gt)
        left = left - xp.matmul(A, xp.matmul(B, left))
        right = right - xp.matmul(xp.matmul(right, B), A)
        return left + right - first


def _rtol(A: Any, rtol: float | None) -> float:
    """Return the share of the largest singular value below which others count as 0.

    It is max(m, n) times the rounding error.
    """
    return max(A.shape[-2:]) * float(np.finfo(A.dtype).eps) if rtol is None else rtol


def _limit(value: float | Tensor | None, default: Any) -> Any:
    """A tolerance as an array with a dimension for the singular values, or as a number."""
    if isinstance(value, Tensor):
        return _column(value.xp, value.array)
    return default if value is None else value


_QR = named("linalg_qr", "Q", "R")
_SVD = named("linalg_svd", "U", "S", "Vh")
_EIGH = named("linalg_eigh", "eigenvalues", "eigenvectors")
_LSTSQ = named("linalg_lstsq", "solution", "residuals", "rank", "singular_values")
TALL, WIDE = arg(4, 3, distinct=True), arg(3, 4, distinct=True)
RECTANGLES = [sample(TALL), sample(WIDE), sample(regular(3)), sample(regular(2, batch=(2,)))]


@op(
    primitive=QR,
    reference=lambda A, mode="reduced": tuple(np.linalg.qr(A, mode)),
    samples=[*RECTANGLES, sample(WIDE, "complete"), sample(regular(3), "complete")],
    errors=[TOO_FLAT, INTEGERS, (sample(TALL, "full"), RuntimeError, "qr received unrecognized mode 'full'")],
    namespace="linalg",
    method=False,
)
def qr(A: Tensor, mode: str = "reduced") -> Any:
    """``A = Q R`` with orthonormal columns in Q and an upper triangular R, as a named tuple (Q, R).

    Shapes: (..., m, n) gives Q (..., m, k) and R (..., k, n), k = min(m, n); in the mode "complete" k = m.
    In the mode "r" Q is empty.

    >>> import accelgrad
    >>> Q, R = accelgrad.linalg.qr(accelgrad.tensor([[3.0, 1.0], [4.0, 2.0]]))
    >>> accelgrad.allclose(Q @ R, accelgrad.tensor([[3.0, 1.0], [4.0, 2.0]]), atol=1e-6)
    True
    """
    matrices("qr", A, square=False)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r',"
            " or 'complete'"
        )
    Q, R = QR.apply(A, mode="complete" if mode == "complete" else "reduced")
    return _QR(wrap(A.xp.empty((0,), dtype=A.array.dtype), A.xp) if mode == "r" else Q, R)


@op(
    primitive=SVD,
    reference=lambda A, full_matrices=True: tuple(np.linalg.svd(A, full_matrices)),
    samples=[sample(one.args[0], False) for one in RECTANGLES] + [sample(regular(3))],
    errors=[TOO_FLAT, INTEGERS],
    namespace="linalg",
    method=False,
    torch="none",  # the signs of singular vectors are free
)
def svd(A: Tensor, full_matrices: bool = True) -> Any:
    """``A = U diag(S) Vh`` with orthonormal U and Vh and falling S >= 0, as a named tuple (U, S, Vh).

    Shapes: (..., m, n) gives U (..., m, m), S (..., k), Vh (..., n, n) with k = min(m, n); without
    ``full_matrices`` U is (..., m, k) and Vh (..., k, n).  The signs of the singular vectors are arbitrary,
    so a loss must not depend on them; the gradient is not finite where singular values are equal.

    >>> import accelgrad
    >>> accelgrad.linalg.svd(accelgrad.tensor([[3.0, 0.0], [0.0, 4.0]])).S
    tensor([4., 3.])
    """
    matrices("svd", A, square=False)
    return _SVD(*SVD.apply(A, full=full_matrices))


@op(
    primitive=SingularValues,
    reference=lambda A: np.linalg.svd(A, compute_uv=False),
    samples=RECTANGLES,
    errors=[TOO_FLAT, INTEGERS],
    namespace="linalg",
    method=False,
)
def svdvals(A: Tensor) -> Tensor:
    """The singular values of (..., m, n), falling: (..., min(m, n)).

    >>> import accelgrad
    >>> accelgrad.linalg.svdvals(accelgrad.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor([4., 3.])
    """
    matrices("svdvals", A, square=False)
    return SingularValues.apply(A)


SYMMETRIC = [sample(regular(3, symmetric=True)), sample(regular(2, batch=(2,), symmetric=True))]


def _triangle_named(UPLO: str) -> str:
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return UPLO.upper()


@op(
    primitive=Eigh,
    reference=lambda A, UPLO="L": tuple(np.linalg.eigh(A, UPLO)),
    samples=SYMMETRIC,
    errors=[
        NOT_SQUARE,
        INTEGERS,
        (sample(arg(2, 2), "X"), RuntimeError, "Expected UPLO argument to be 'L' or 'U'"),
    ],
    namespace="linalg",
    method=False,
)
def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """``A = V diag(w) V'`` for symmetric A, as a named tuple (eigenvalues, eigenvectors), eigenvalues rising.

    Only the lower (``UPLO="U"``: upper) triangle of A is read.  The signs of the eigenvectors are arbitrary,
    so a loss must not depend on them; the gradient through them is not finite where eigenvalues are equal.

    >>> import accelgrad
    >>> accelgrad.linalg.eigh(accelgrad.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])
    """
    matrices("eigh", A)
    return _EIGH(*Eigh.apply(A, UPLO=_triangle_named(UPLO)))


@op(
    primitive=Eigh,
    reference=lambda A, UPLO="L": np.linalg.eigvalsh(A, UPLO),
    samples=SYMMETRIC,
    errors=[NOT_SQUARE],
    namespace="linalg",
    method=False,
)
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric matrices (..., n, n), rising: (..., n).

    >>> import accelgrad
    >>> accelgrad.linalg.eigvalsh(accelgrad.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([1., 2.])
    """
    matrices("eigvalsh", A)
    return Eigh.apply(A, UPLO=_triangle_named(UPLO))[0]


@op(
    primitive=Pinv,
    reference=lambda A: np.linalg.pinv(A, max(A.shape[-2:]) * np.finfo(A.dtype).eps),
    samples=RECTANGLES,
    errors=[TOO_FLAT, INTEGERS],
    namespace="linalg",
    method=False,
)
def pinv(
    A: Tensor, rcond: float | None = None, hermitian: bool = False, *, rtol: float | None = None
) -> Tensor:
    """Moore and Penrose's inverse of (..., m, n): (..., n, m).

    Singular values below ``rtol`` (an older name: ``rcond``) times the largest count as 0; by default max(m,
    n) times the rounding error.  ``hermitian`` says that A is symmetric: then its lower triangle is read.

    >>> import accelgrad
    >>> accelgrad.linalg.pinv(accelgrad.tensor([[2.0, 0.0], [0.0, 0.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.0000]])
    """
    matrices("pinv", A, square=hermitian)
    if hermitian:
        values, vectors = Eigh.apply(A, UPLO="L")
        size = A.xp.abs(values.array)
        if not size.size:
            return A.clone()
        small = size <= _rtol(A.array, rcond if rtol is None else rtol) * A.xp.max(
            size, axis=-1, keepdims=True
        )
        mask = wrap(small, A.xp)
        inverse = where(mask, 0.0, 1 / where(mask, 1.0, values))
        scaled = vectors * unsqueeze(inverse, -2)
        return scaled @ transpose(vectors, -2, -1)
    return Pinv.apply(A, rtol=rcond if rtol is None else rtol)


@op(
    primitive=Pinv,
    reference=None,
    samples=[sample(TALL, arg(4, 2)), sample(WIDE, arg(3, 2)), sample(regular(3), arg(3, 1))],
    errors=[(sample(TALL, arg(3, 2)), RuntimeError, "linalg.lstsq: input.size")],
    namespace="linalg",
    method=False,
    torch="none",  # whose drivers leave out residuals that its manual promises
)
def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """The X that makes ``A X - B`` smallest in the sum of squares; of several such X the smallest itself.

    A (..., m, n) and B (..., m, k) give a named tuple: solution (..., n, k); residuals (..., k), the sums of
    squares left (empty unless m > n and A has full rank); rank; singular_values.  ``driver`` is accepted:
    here it is always the pseudo-inverse.

    >>> import accelgrad
    >>> A = accelgrad.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> accelgrad.linalg.lstsq(A, accelgrad.tensor([[1.0], [3.0], [5.0]])).solution.round(decimals=3)
    tensor([[1.],
            [2.]])
    """
    matrices("lstsq", A, square=False)
    vector = A.array.ndim - 1 == B.array.ndim
    right = unsqueeze(B, -1) if vector else B
    if A.array.shape[-2] != right.array.shape[-2]:
        raise RuntimeError(
            "linalg.lstsq: input.size(-2) should match other.size(-2),"
            f" got {A.array.shape[-2]} and {right.array.shape[-2]}"
        )
    m, n = A.array.shape[-2:]
    X = Pinv.apply(A, rtol=rcond) @ right
    values = lapack(A).svd(A.array, compute_uv=False)
    rank = (values > _rtol(A.array, rcond) * values[..., :1]).sum(axis=-1)
    if m > n and bool((rank == n).all()):
        residuals = sum(square(A @ X - right), -2)
    else:
        residuals = wrap(A.xp.empty((0,), dtype=A.array.dtype), A.xp)
    solution = squeeze(X, -1) if vector else X
    rank = A.xp.asarray(rank, dtype="int64")
    if driver not in ("gelss", "gelsd"):
        values = A.xp.empty((0,), dtype=A.array.dtype)
    return _LSTSQ(solution, residuals, wrap(rank, A.xp), wrap(values, A.xp))


@op(
    reference=lambda A, *, tol=None, atol=None, rtol=None, hermitian=False: np.asarray(
        np.linalg.matrix_rank(A, tol or atol)
    ),
    samples=[
        sample(regular(3)),
        sample(TALL),
        sample(arg(2, 2, values=[[1.0, 2.0], [2.0, 4.0]])),
        sample(regular(2, batch=(2,)), atol=1.0),
    ],
    errors=[TOO_FLAT],
    differentiable=False,
    namespace="linalg",
    method=False,
)
def matrix_rank(
    A: Tensor,
    *,
    tol: float | Tensor | None = None,
    atol: float | Tensor | None = None,
    rtol: float | Tensor | None = None,
    hermitian: bool = False,
) -> Tensor:
    """The number of singular values above ``max(atol, rtol * largest)``, as int64.

    ``tol`` is an older name of ``atol``; rtol is max(m, n) times the rounding error unless atol is given.

    >>> import accelgrad
    >>> accelgrad.linalg.matrix_rank(accelgrad.tensor([[1.0, 2.0], [2.0, 4.0]]))
    tensor(1)
    """
    matrices("matrix_rank", A, square=hermitian)
    values = lapack(A).svd(A.array, compute_uv=False)
    absolute = _limit(tol if atol is None else atol, 0.0)
    positive = A.xp.asarray(absolute) > 0
    relative = _limit(rtol, A.xp.where(positive, 0.0, _rtol(A.array, None)))
    limit = A.xp.maximum(values[..., :1] * relative, absolute)
    return wrap(A.xp.asarray((values > limit).sum(axis=-1), dtype="int64"), A.xp)
