"""Linear systems: inv, solve, det, slogdet, cholesky and what follows from them.

All of them take batches of matrices.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.pointwise.arithmetic import unequal_shapes
from accelgrad.ops.pointwise.elementwise import log
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import title
from accelgrad.ops.registry.return_types import named
from accelgrad.ops.shapes.shape import squeeze, transpose, unsqueeze


class LinAlgError(RuntimeError):
    """A matrix that has no such factor, inverse or solution."""


def lapack(holder: Any) -> Any:
    """The array module's own functions on matrices, which overlay kernels do not replace."""
    return holder.xp.module.linalg


def sound(xp: Any, result: Any, A: Any) -> Any:
    """``result``.

    LinAlgError where the array module gave NaN or infinities for a finite matrix, as CuPy does where NumPy
    raises.  To find out the host waits for the card, as PyTorch's functions of these names do.
    """
    if xp.asynchronous and bool(xp.all(xp.isfinite(A)) & ~xp.all(xp.isfinite(result))):
        raise np.linalg.LinAlgError("Singular matrix")
    return result


def swapped(xp: Any, x: Any) -> Any:
    """Every matrix transposed."""
    return xp.swapaxes(x, -1, -2)


def matrices(name: str, A: Any, *, square: bool = True, letter: str = "A", low: bool = False) -> None:
    """The checks that every function here makes: floats, two dimensions, square where needed.

    Floats of 16 bits only where ``low`` allows them.
    """
    if not isinstance(A, Tensor):
        raise TypeError(
            f"linalg_{name}(): argument '{letter}' (position 1) must be Tensor, not {type(A).__name__}"
        )
    shape = A.array.shape
    if len(shape) < 2:
        raise RuntimeError(
            f"linalg.{name}: The input tensor {letter} must have at least 2 dimensions;"
            f" got shape {tuple(shape)}"
        )
    if square and shape[-1] != shape[-2]:
        raise RuntimeError(
            f"linalg.{name}: {letter} must be batches of square matrices,"
            f" but they are {shape[-2]} by {shape[-1]} matrices"
        )
    if not A.is_floating_point() or (A.array.itemsize == 2 and not low):
        words = (
            "Low precision dtypes not supported. Got "
            if A.is_floating_point()
            else ("Expected a floating point or complex tensor as input. Got ")
        )
        raise RuntimeError(f"linalg.{name}: {words}{title(A.array)}; convert with .float()")


def regular(
    size: int, *, batch: tuple[int, ...] = (), symmetric: bool = False, lower: bool = False, grad: bool = True
) -> Any:
    """A sample: well-conditioned matrices with fixed values."""
    rng = np.random.default_rng(size + len(batch))
    A = rng.uniform(-1, 1, (*batch, size, size)) + 2.5 * np.eye(size)
    if symmetric:
        A = A @ np.swapaxes(A, -1, -2)
    A = np.tril(A) if lower else A
    return arg(*A.shape, values=A.tolist(), requires_grad=grad and not symmetric and not lower)


class Inverse(Primitive):
    """B = A⁻¹,  dL/dA = -B' dL/dB B'  (Giles 2008, section 2.2.3)"""

    @staticmethod
    def forward(ctx: Any, A: Any) -> Any:
        B = sound(ctx.xp, lapack(ctx).inv(A), A)
        ctx.save_for_backward(B)
        return B

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        (B,) = ctx.saved_tensors
        across = swapped(xp, B)
        return -xp.matmul(across, xp.matmul(grad, across))

    @staticmethod
    def explain(error: Exception, arrays: list[Any]) -> Exception:
        if type(error).__name__ != "LinAlgError":
            return error
        return LinAlgError(
            "linalg.inv: The diagonal element of the factor U is zero,"
            f" the inversion could not be completed because the input matrix is singular{_which(arrays[0])}."
        )


def _which(A: Any) -> str:
    """Where in a batch the singular matrix is."""
    if A.ndim == 2:
        return ""
    ranks = np.linalg.matrix_rank(np.asarray(A if isinstance(A, np.ndarray) else A.get()))
    places = np.argwhere(ranks < A.shape[-1]).tolist()
    return f" (Batch element {tuple(places[0])})" if places else ""


class Solve(Primitive):
    """A X = B,  dL/dB = A'⁻¹ dL/dX,  dL/dA = -dL/dB X'  (Giles 2008, section 2.3.1)"""

    @staticmethod
    def forward(ctx: Any, A: Any, B: Any) -> Any:
        left, right = A, B
        if A.shape[:-2] != B.shape[:-2]:  # NumPy broadcasts stacks of systems, CuPy does not
            xp = ctx.xp
            stack = xp.broadcast_shapes(A.shape[:-2], B.shape[:-2])
            left = xp.broadcast_to(A, stack + A.shape[-2:])
            right = xp.broadcast_to(B, stack + B.shape[-2:])
        X = sound(ctx.xp, lapack(ctx).solve(left, right), A)
        ctx.save_for_backward(A, X)
        return X

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        A, X = ctx.saved_tensors
        grad_B = xp.run(Solve, swapped(xp, A), grad)
        grad_A = -xp.matmul(grad_B, swapped(xp, X)) if ctx.needs_input_grad[0] else None
        return grad_A, grad_B

    @staticmethod
    def explain(error: Exception, arrays: list[Any]) -> Exception:
        A, B = arrays
        if type(error).__name__ == "LinAlgError":
            return LinAlgError(
                f"linalg.solve: The solver failed because the input matrix is singular{_which(A)}."
                " Check the rank, or use linalg.lstsq for the least-squares solution."
            )
        if A.shape[-1] != B.shape[-2]:
            return RuntimeError(
                "linalg.solve: Incompatible shapes of A and B for the equation AX = B"
                f" ({A.shape[-2]}x{A.shape[-1]} and {B.shape[-2]}x{B.shape[-1]})"
            )
        return unequal_shapes([A[..., 0, 0], B[..., 0, 0]]) or error


class Det(Primitive):
    """d = det A,  dL/dA = dL/dd times the cofactors, which are d A'⁻¹ where A is regular.

    Source: Giles 2008, section 2.2.4.
    """

    @staticmethod
    def forward(ctx: Any, A: Any) -> Any:
        d = lapack(ctx).det(A)
        ctx.save_for_backward(A, d)
        ctx.singular = A.size > 0 and bool(ctx.xp.any(d == 0))
        return d

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        A, d = ctx.saved_tensors
        if not ctx.singular:
            return _column(xp, grad * d) * swapped(xp, xp.run(Inverse, A))
        return _column(xp, grad) * cofactors(xp, A)


def _column(xp: Any, x: Any) -> Any:
    return xp.expand_dims(xp.expand_dims(x, -1), -1)


def cofactors(xp: Any, A: Any) -> Any:
    """The matrix of cofactors, also of singular matrices: each is the determinant of what is left."""
    size = A.shape[-1]
    rows = []
    for i in range(size):
        row = []
        for j in range(size):
            keep_i = [k for k in range(size) if k != i]
            keep_j = [k for k in range(size) if k != j]
            minor = _taken(xp, _taken(xp, A, keep_i, -2), keep_j, -1)
            row.append((-1) ** (i + j) * xp.run(Det, minor))
        rows.append(xp.stack(row, axis=-1))
    return xp.stack(rows, axis=-2)


def _taken(xp: Any, A: Any, keep: list[int], axis: int) -> Any:
    if not keep:
        return A[..., :0, :] if axis == -2 else A[..., :0]
    parts = [A[..., k : k + 1, :] if axis == -2 else A[..., k : k + 1] for k in keep]
    return parts[0] if len(parts) == 1 else xp.concatenate(tuple(parts), axis=axis)


class SlogDet(Primitive):
    """The sign and l = log |det A|,  dL/dA = dL/dl A'⁻¹"""

    @staticmethod
    def forward(ctx: Any, A: Any) -> Any:
        ctx.save_for_backward(A)
        sign, logarithm = lapack(ctx).slogdet(A)
        return sign, logarithm

    @staticmethod
    def backward(ctx: Any, _: Any, grad: Any) -> Any:
        xp = ctx.xp
        (A,) = ctx.saved_tensors
        return _column(xp, grad) * swapped(xp, xp.run(Inverse, A))


class Cholesky(Primitive):
    """A = L L',  dL/dA = ½ (S + S') with S = L'⁻¹ Φ(L' dL/dL) L⁻¹.

    Φ takes the lower triangle, half the diagonal.

    Source: Murray 2016, "Differentiation of the Cholesky decomposition", equation 10.
    """

    @staticmethod
    def forward(ctx: Any, A: Any) -> Any:
        L = sound(ctx.xp, lapack(ctx).cholesky(A), A)
        ctx.save_for_backward(L)
        return L

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        (L,) = ctx.saved_tensors
        half = triangle(ctx, L.shape[-1], L.dtype, diagonal=0.5)
        across = swapped(xp, L)
        inner = xp.matmul(across, grad) * half
        S = xp.run(Solve, across, swapped(xp, xp.run(Solve, across, swapped(xp, inner))))
        return (S + swapped(xp, S)) / 2

    @staticmethod
    def explain(error: Exception, arrays: list[Any]) -> Exception:
        if type(error).__name__ != "LinAlgError":
            return error
        return LinAlgError(
            "linalg.cholesky: The factorization could not be completed"
            " because the input is not positive-definite."
            " It must be symmetric with positive eigenvalues;"
            " adding a small multiple of the identity often helps."
        )


def triangle(ctx: Any, size: int, kind: Any, diagonal: float = 1.0) -> Any:
    """A constant matrix with ones below the diagonal, and ``diagonal`` on it."""
    raw = getattr(ctx, "context", ctx).xp
    dtype = getattr(kind, "numpy", kind)
    return raw.tril(raw.ones((size, size), dtype=dtype), -1) + diagonal * raw.eye(size, dtype=dtype)


SINGULAR = arg(2, 2, values=[[1.0, 2.0], [2.0, 4.0]])
NOT_SQUARE = (
    sample(arg(2, 3)),
    RuntimeError,
    "must be batches of square matrices, but they are 2 by 3 matrices",
)
TOO_FLAT = (sample(arg(3)), RuntimeError, "must have at least 2 dimensions")
INTEGERS = (sample(arg(2, 2, dtype="int64")), RuntimeError, "Got Long")
SQUARE = [sample(regular(3)), sample(regular(2, batch=(2,))), sample(regular(1)), sample(arg(0, 2, 2))]


@op(
    primitive=Inverse,
    reference=np.linalg.inv,
    samples=SQUARE,
    errors=[NOT_SQUARE, TOO_FLAT, INTEGERS, (sample(SINGULAR), LinAlgError, "the input matrix is singular")],
    namespace="linalg",
    method=False,
)
def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices (..., n, n); LinAlgError where a matrix is singular.

    >>> import accelgrad
    >>> accelgrad.linalg.inv(accelgrad.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    matrices("inv", A)
    return Inverse.apply(A)


def _is_vector(A: Tensor, B: Tensor) -> bool:
    """PyTorch's rule: (n) is a vector, and so is a batch of them where the batch is A's."""
    return B.array.ndim == 1 or (A.array.ndim - 1 == B.array.ndim and B.array.shape == A.array.shape[:-1])


def _numpy_solve(A: Any, B: Any, left: bool = True) -> Any:
    if not left:
        return np.swapaxes(np.linalg.solve(np.swapaxes(A, -1, -2), np.swapaxes(B, -1, -2)), -1, -2)
    if B.ndim == 1 or B.shape == A.shape[:-1]:
        return np.linalg.solve(A, B[..., None])[..., 0]
    return np.linalg.solve(A, B)


@op(
    primitive=Solve,
    reference=lambda A, B, *, left=True: _numpy_solve(A, B, left),
    samples=[
        sample(regular(3), arg(3, 2)),
        sample(regular(3), arg(3)),
        sample(regular(2, batch=(3,)), arg(3, 2)),
        sample(regular(2, batch=(2,)), arg(2, 3)),
        sample(regular(3), arg(2, 3), left=False),
        sample(regular(2), arg(2, 2, 1)),
    ],
    errors=[
        (
            sample(SINGULAR, arg(2)),
            LinAlgError,
            "linalg.solve: The solver failed because the input matrix is singular",
        ),
        (sample(arg(2, 3), arg(2)), *NOT_SQUARE[1:]),
        (
            sample(regular(3), arg(2, 2)),
            RuntimeError,
            "linalg.solve: Incompatible shapes of A and B for the equation AX = B",
        ),
    ],
    namespace="linalg",
    method=False,
)
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """Solve ``A X = B`` (with ``left=False``: ``X A = B``) for regular A.

    A (..., n, n), B (..., n, k) or (..., n).

    LinAlgError where A is singular, RuntimeError where the shapes do not fit.

    >>> import accelgrad
    >>> accelgrad.linalg.solve(accelgrad.tensor([[2.0, 0.0], [0.0, 4.0]]), accelgrad.tensor([2.0, 2.0]))
    tensor([1.0000, 0.5000])
    """
    matrices("solve", A)
    if A.array.dtype != B.array.dtype:
        raise RuntimeError(
            "linalg.solve: Expected A and B to have the same dtype,"
            f" but found A of type {title(A.array)} and B of type {title(B.array)} instead"
        )
    if _is_vector(A, B) and left:
        return squeeze(Solve.apply(A, unsqueeze(B, -1)), -1)
    if not left:
        return transpose(Solve.apply(transpose(A, -2, -1), transpose(B, -2, -1)), -2, -1)
    return Solve.apply(A, B)


@op(
    primitive=Det,
    reference=np.linalg.det,
    samples=[
        *SQUARE,
        sample(SINGULAR),
        sample(arg(3, 3, values=[[1.0, 2, 3], [4, 5, 6], [7, 8, 10]])),
        sample(arg(0, 0)),
    ],
    errors=[NOT_SQUARE, TOO_FLAT],
    namespace="linalg",
    method=False,
)
def det(A: Tensor) -> Tensor:
    """The determinant of square matrices (..., n, n).  Its gradient exists for singular matrices too.

    >>> import accelgrad
    >>> accelgrad.linalg.det(accelgrad.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor(8.)
    """
    matrices("det", A)
    return Det.apply(A)


_SLOGDET = named("linalg_slogdet", "sign", "logabsdet")


@op(
    primitive=SlogDet,
    reference=lambda A: tuple(np.linalg.slogdet(A)),
    samples=SQUARE,
    errors=[NOT_SQUARE],
    namespace="linalg",
    method=False,
)
def slogdet(A: Tensor) -> Any:
    """Return the sign and the logarithm of the absolute determinant, (sign, logabsdet).

    The result is a named tuple; it does not overflow.

    >>> import accelgrad
    >>> accelgrad.linalg.slogdet(accelgrad.tensor([[2.0, 0.0], [0.0, -4.0]]))[0]
    tensor(-1.)
    """
    matrices("slogdet", A)
    return _SLOGDET(*SlogDet.apply(A))


@op(
    primitive=SlogDet,
    reference=lambda A: np.log(np.linalg.det(A)),
    samples=SQUARE[:2],
    errors=[NOT_SQUARE],
    torch="logdet",
)
def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant of square matrices (..., n, n); NaN where that is negative.

    >>> import accelgrad
    >>> accelgrad.logdet(accelgrad.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor(2.0794)
    """
    matrices("logdet", input)
    sign, logarithm = SlogDet.apply(input)
    return logarithm + log(sign)


POSITIVE = [
    sample(regular(3, symmetric=True)),
    sample(regular(2, batch=(2,), symmetric=True)),
    sample(arg(0, 2, 2)),
]


@op(
    primitive=Cholesky,
    reference=lambda A, *, upper=False: (
        np.swapaxes(np.linalg.cholesky(A), -1, -2) if upper else np.linalg.cholesky(A)
    ),
    samples=[*POSITIVE, sample(regular(3, symmetric=True), upper=True)],
    errors=[NOT_SQUARE, (sample(SINGULAR), LinAlgError, "the input is not positive-definite")],
    namespace="linalg",
    method=False,
)
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L with ``A = L L'`` for symmetric positive-definite A.

    With ``upper`` its transpose.

    Only the lower triangle of A is read.  LinAlgError where A is not positive-definite.

    >>> import accelgrad
    >>> accelgrad.linalg.cholesky(accelgrad.tensor([[4.0, 0.0], [0.0, 9.0]]))
    tensor([[2., 0.],
            [0., 3.]])
    """
    matrices("cholesky", A)
    L = Cholesky.apply(A)
    return L.transpose(-2, -1) if upper else L


def _triangular(A: Tensor, upper: bool, unit: bool) -> Tensor:
    """Return A with zeros on the other side of the diagonal, and ones on it for ``unit``.

    This is done by constants, so gradients go through.
    """
    raw, size = A.xp, A.array.shape[-1]
    lower = raw.tril(raw.ones((size, size), dtype=A.array.dtype), -1 if unit else 0)
    result = A * wrap(lower.T if upper else lower, raw)
    return result + wrap(raw.eye(size, dtype=A.array.dtype), raw) if unit else result


def _numpy_triangular(A: Any, B: Any, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Any:
    T = np.triu(A) if upper else np.tril(A)
    if unitriangular:
        T = T - T * np.eye(A.shape[-1]) + np.eye(A.shape[-1])
    return np.linalg.solve(T, B) if left else _numpy_solve(T, B, left)


@op(
    primitive=Solve,
    reference=_numpy_triangular,
    samples=[
        sample(regular(3), arg(3, 2), upper=True),
        sample(regular(3), arg(3, 2), upper=False),
        sample(regular(2, batch=(2,)), arg(2, 2), upper=False, left=False),
        sample(regular(3), arg(3, 1), upper=True, unitriangular=True),
    ],
    errors=[(sample(arg(2, 3), arg(2, 1), upper=True), *NOT_SQUARE[1:])],
    namespace="linalg",
    method=False,
)
def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """The X with ``A X = B`` (with ``left=False``: ``X A = B``) where only one triangle of A counts.

    With ``unitriangular`` the diagonal counts as ones.

    >>> import accelgrad
    >>> A = accelgrad.tensor([[2.0, 9.0], [1.0, 4.0]])
    >>> accelgrad.linalg.solve_triangular(A, accelgrad.tensor([[2.0], [5.0]]), upper=False)
    tensor([[1.],
            [1.]])
    """
    matrices("solve_triangular", A)
    T = _triangular(A, upper, unitriangular)
    if left:
        return Solve.apply(T, B)
    return transpose(Solve.apply(transpose(T, -2, -1), transpose(B, -2, -1)), -2, -1)


@op(
    primitive=Solve,
    reference=lambda B, L, upper=False: np.linalg.solve(
        (np.triu(L).T @ np.triu(L)) if upper else (np.tril(L) @ np.tril(L).T), B
    ),
    samples=[sample(arg(3, 2), regular(3, lower=True)), sample(arg(3, 1), regular(3, lower=True))],
    errors=[(sample(arg(2, 1), arg(2, 3)), *NOT_SQUARE[1:])],
)
def cholesky_solve(input: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """The X with ``L L' X = input``, from the Cholesky factor L (with ``upper``: ``L' L``).

    >>> import accelgrad
    >>> accelgrad.cholesky_solve(accelgrad.tensor([[4.0], [9.0]]), accelgrad.tensor([[2.0, 0.0], [0.0, 3.0]]))
    tensor([[1.],
            [1.]])
    """
    matrices("cholesky_solve", L, letter="L")
    T = _triangular(L, upper, unit=False)
    across = T.transpose(-2, -1)
    return Solve.apply(T, Solve.apply(across, input)) if upper else Solve.apply(across, Solve.apply(T, input))
