"""Norms of vectors and matrices, and more of linear algebra: cond, matrix_power, multi_dot, vander."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.arrays.dtypes import dtype as Dtype
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.linalg.contraction import chain
from accelgrad.ops.linalg.contraction import cross as cross_product
from accelgrad.ops.linalg.decomposition import SingularValues
from accelgrad.ops.linalg.linalg import NOT_SQUARE, Inverse, Solve, matrices, regular
from accelgrad.ops.linalg.product import Matmul, matmul
from accelgrad.ops.pointwise.arithmetic import add, mul
from accelgrad.ops.pointwise.power import pow
from accelgrad.ops.reductions.extrema import amax, amin
from accelgrad.ops.reductions.reduce import OUT_OF_RANGE, as_kind, spread, sum
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import title
from accelgrad.ops.registry.dims import Dims, axes_of, reducing, wrap_dim, wrap_dims
from accelgrad.ops.shapes.fill import where
from accelgrad.ops.shapes.shape import movedim, reshape, squeeze, unsqueeze


class VectorNorm(Primitive):
    """y = (sum of |x|^p)^(1/p),  dL/dx = dL/dy sign(x) (|x| / y)^(p - 1), 0 where y is 0.

    For p = ±inf the gradient goes in equal parts to all elements of that size.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, *, ord: float, axis: Any = None, keepdims: bool = False) -> Any:
        ctx.ord, ctx.axis = ord, axis
        y = ctx.xp.vector_norm(x, ord=ord, axis=axis, keepdims=keepdims)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp, p = ctx.xp, ctx.ord
        x, y = ctx.saved_tensors
        grad = spread(xp, grad, x.shape, ctx.axis)
        if p == 0:
            return xp.zeros_like(grad)
        if p == 1:
            return grad * xp.sign(x)
        y = spread(xp, y, x.shape, ctx.axis)
        if p == 2:
            still = y == 0
            return grad * xp.where(still, 0.0, x / xp.where(still, 1.0, y))
        size = xp.abs(x)
        if math.isinf(p):
            hit = xp.astype(size == y, x.dtype)
            return grad * xp.sign(x) * hit / xp.sum(hit, axis=ctx.axis, keepdims=True)
        still = size == 0
        return (
            grad
            * xp.sign(x)
            * xp.where(still, 0.0, (xp.where(still, 1.0, size) / xp.where(y == 0, 1.0, y)) ** (p - 1))
        )


def _floats(name: str, input: Tensor, dtype: Dtype | None) -> Tensor:
    input = as_kind(input, dtype)
    if not input.is_floating_point():
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input."
            f" Got {title(input.array)}; convert with .float()"
        )
    return input


def _order(name: str, ord: Any) -> float:
    if isinstance(ord, str):
        raise RuntimeError(f"{name}: ord must be a number, got {ord!r}")
    return float(ord)


def numpy_vector_norm(x: Any, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Any:
    size = np.abs(x)
    if ord == 0:
        return np.sum(x != 0, axis=axis, keepdims=keepdims).astype(x.dtype)
    if math.isinf(ord):
        return (np.max if ord > 0 else np.min)(size, axis=axis, keepdims=keepdims)
    return np.sum(size**ord, axis=axis, keepdims=keepdims) ** (1 / ord)


@op(
    primitive=VectorNorm,
    reference=lambda x, ord=2, dim=None, keepdim=False: reducing(numpy_vector_norm)(x, dim, keepdim, ord=ord),
    samples=[
        sample(arg(2, 3)),
        sample(arg(2, 3), 1),
        sample(arg(2, 3), 3, 1),
        sample(arg(2, 3), 0.5, 0, True),
        sample(arg(2, 3, 2), 2, (0, -1)),
        sample(arg(2, 3, distinct=True), math.inf, 1),
        sample(arg(2, 3, distinct=True), -math.inf),
        sample(arg(2, 3), 0, 1),
        sample(arg(), 2),
        sample(arg(0, 3), 2, 0),
    ],
    errors=[
        (
            sample(arg(2, dtype="int64")),
            RuntimeError,
            "linalg.vector_norm: Expected a floating point or complex tensor",
        ),
        (sample(arg(2, 3), 2, 2), *OUT_OF_RANGE[1:]),
    ],
    namespace="linalg",
    method=False,
)
def vector_norm(
    x: Tensor, ord: float = 2, dim: Dims = None, keepdim: bool = False, *, dtype: Dtype | None = None
) -> Tensor:
    """``(sum |x|^ord)^(1/ord)`` over all elements or over ``dim``.

    Ord 0 counts, ±inf are the largest and smallest size.

    The gradient is 0 where the norm is 0.

    >>> import accelgrad
    >>> accelgrad.linalg.vector_norm(accelgrad.tensor([3.0, 4.0]))
    tensor(5.)
    """
    x = _floats("linalg.vector_norm", x, dtype)
    return VectorNorm.apply(x, ord=_order("linalg.vector_norm", ord), axis=axes_of(dim, x), keepdims=keepdim)


def _numpy_matrix(A: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False) -> Any:
    return np.linalg.norm(A, ord, tuple(dim), keepdim)


@op(
    reference=_numpy_matrix,
    samples=[
        sample(arg(3, 4)),
        sample(arg(3, 4), "nuc"),
        *(sample(arg(3, 4, distinct=True), ord) for ord in (1, -1, 2, -2, math.inf, -math.inf)),
        sample(arg(2, 3, 4), 1, (0, 2), True),
        sample(arg(2, 3, 4), "nuc", (1, 0), True),
    ],
    errors=[
        (
            sample(arg(3)),
            RuntimeError,
            "linalg.matrix_norm: The input tensor A must have at least 2 dimensions",
        ),
        (sample(arg(2, 2), 3), RuntimeError, "linalg.matrix_norm: Order 3 not supported"),
        (sample(arg(2, 2), "frob"), RuntimeError, "linalg.matrix_norm: Order frob not supported"),
    ],
    namespace="linalg",
    method=False,
)
def matrix_norm(
    A: Tensor,
    ord: float | str = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: Dtype | None = None,
) -> Tensor:
    """Compute a norm of matrices.

    "fro" is the root of the sum of squares, "nuc" the sum of the singular values, ±2 the largest or smallest
    singular value, ±1 the largest or smallest sum of a column's sizes, ±inf that of a row's.

    >>> import accelgrad
    >>> accelgrad.linalg.matrix_norm(accelgrad.tensor([[1.0, -2.0], [3.0, 4.0]]), 1)
    tensor(6.)
    """
    A = _floats("linalg.matrix_norm", A, dtype)
    if A.array.ndim < 2:
        raise RuntimeError(
            "linalg.matrix_norm: The input tensor A must have at least 2 dimensions;"
            f" got shape {tuple(A.shape)}"
        )
    axes = wrap_dims(tuple(dim), A.array.ndim)
    if len(axes) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {tuple(dim)}")
    if ord == "fro":
        return VectorNorm.apply(A, ord=2.0, axis=axes, keepdims=keepdim)
    if ord not in ("nuc", 1, -1, 2, -2, math.inf, -math.inf):
        raise RuntimeError(
            f"linalg.matrix_norm: Order {ord} not supported; use fro, nuc, inf, -inf, 1, -1, 2 or -2"
        )
    last = movedim(A, axes, (-2, -1))
    if isinstance(ord, str) or abs(ord) == 2:
        sizes = SingularValues.apply(last)
    else:
        sizes = sum(last.abs(), -2 if abs(ord) == 1 else -1)
    if isinstance(ord, str) or (ord > 0 and sizes.shape[-1] == 0):  # the largest of nothing counts as 0
        result = sum(sizes, -1)
    else:
        result = (amax if ord > 0 else amin)(sizes, -1)
    if keepdim:
        for axis in sorted(axes):
            result = unsqueeze(result, axis)
    return result


def _numpy_norm(x: Any, ord: Any = None, dim: Any = None, keepdim: bool = False) -> Any:
    if ord is None or (dim is None and x.ndim > 2):
        return reducing(numpy_vector_norm)(x, dim, keepdim)
    return np.linalg.norm(x, ord, tuple(dim) if isinstance(dim, list | tuple) else dim, keepdim)


@op(
    primitive=VectorNorm,
    reference=_numpy_norm,
    samples=[
        sample(arg(2, 3, 2)),
        sample(arg(3), 3),
        sample(arg(2, 3), "fro"),
        sample(arg(2, 3), 1, 1),
        sample(arg(2, 3, 2), 2, (0, 1)),
        sample(arg(2, 3), None, 0, True),
    ],
    errors=[
        (
            sample(arg(2, 3, 2), 1),
            RuntimeError,
            "linalg.norm: If dim is not specified but ord is, the input must be",
        )
    ],
    namespace="linalg",
    method=False,
)
def norm(
    A: Tensor,
    ord: float | str | None = None,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: Dtype | None = None,
) -> Tensor:
    """The norm of a vector or matrix: :func:`vector_norm` for one dimension, :func:`matrix_norm` for two.

    Without ``ord`` the root of the sum of all squares, of any shape.  RuntimeError where ord is given for
    more dimensions.

    >>> import accelgrad
    >>> accelgrad.linalg.norm(accelgrad.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor(5.)
    """
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    given = A.array.ndim if dim is None else 1 if isinstance(dim, int) else len(tuple(dim))
    if given > 2:
        raise RuntimeError(
            "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D."
            f" Got {A.array.ndim}D."
        )
    if given == 2:
        return matrix_norm(A, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    return vector_norm(A, _order("linalg.norm", ord), dim, keepdim, dtype=dtype)


@op(
    reference=lambda A, p=None: np.linalg.cond(A, p),
    samples=[
        sample(regular(3)),
        sample(regular(3, grad=False), 1),
        sample(regular(2, batch=(2,), grad=False), "fro"),
        sample(arg(3, 2), -2),
    ],
    errors=[(sample(arg(2, 3), 1), *NOT_SQUARE[1:])],
    namespace="linalg",
    method=False,
)
def cond(A: Tensor, p: float | str | None = None) -> Tensor:
    """The condition number: the norm of a matrix times that of its inverse.

    For p 2 (the default) the ratio of the largest to the smallest singular value, and the other way round
    for -2.

    >>> import accelgrad
    >>> accelgrad.linalg.cond(accelgrad.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor(2.)
    """
    if p is None or p in (2, -2):
        matrices("cond", A, square=False)
        values = SingularValues.apply(A)
        largest, smallest = values[..., 0], values[..., -1]
        return smallest / largest if p == -2 else largest / smallest
    matrices("cond", A)
    return matrix_norm(A, p) * matrix_norm(Inverse.apply(A), p)


@op(
    primitive=Matmul,
    reference=lambda A, n: np.linalg.matrix_power(A, n),
    samples=[*(sample(regular(3), n) for n in (0, 1, 2, 5, -2)), sample(regular(2, batch=(2,)), 3)],
    errors=[(sample(arg(2, 3), 2), *NOT_SQUARE[1:])],
    also=("linalg.matrix_power",),
)
def matrix_power(input: Tensor, n: int) -> Tensor:
    """The n-th power of square matrices (..., k, k), by repeated squaring; of the inverse for a negative n.

    >>> import accelgrad
    >>> accelgrad.matrix_power(accelgrad.tensor([[1.0, 1.0], [0.0, 1.0]]), 5)
    tensor([[1., 5.],
            [0., 1.]])
    """
    matrices("matrix_power", input, low=True)
    if n == 0:
        one = input.xp.eye(input.array.shape[-1], dtype=input.array.dtype)
        return add(mul(input, 0), wrap(one, input.xp))
    power: Any = Inverse.apply(input) if n < 0 else input
    result = None
    n = abs(n)
    while n:
        if n % 2:
            result = power if result is None else matmul(result, power)
        n //= 2
        if n:
            power = matmul(power, power)
    return result  # type: ignore[return-value]


@op(
    primitive=Matmul,
    reference=lambda matrices: functools.reduce(np.matmul, matrices),
    samples=[
        sample([arg(2, 3), arg(3, 4), arg(4, 1)]),
        sample([arg(3), arg(3, 2), arg(2)]),
        sample([arg(2, 3), arg(3)]),
    ],
    errors=[
        (sample([arg(2, 3)]), RuntimeError, r"multi_dot\(\): expected at least 2 tensors but got 1"),
        (sample([arg(2, 3), arg(2, 3)]), RuntimeError, r"multi_dot\(\): tensors 0 and 1 with shapes"),
    ],
    namespace="linalg",
    method=False,
)
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of several matrices in the order that takes the fewest operations.

    The first and last may be vectors.

    >>> import accelgrad
    >>> accelgrad.linalg.multi_dot([accelgrad.ones(9), accelgrad.ones(9, 9), accelgrad.ones(9, 1)])
    tensor([81.])
    """
    given = list(tensors)
    if len(given) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(given)}")
    first, last = given[0].array.ndim == 1, given[-1].array.ndim == 1
    if first:
        given[0] = unsqueeze(given[0], 0)
    if last:
        given[-1] = unsqueeze(given[-1], 1)
    for place, one in enumerate(given):
        if one.array.ndim != 2:
            raise RuntimeError(
                f"multi_dot(): tensor {place} must be 2D{' or 1D' if place in (0, len(given) - 1) else ''}"
                f" but got {one.array.ndim}D"
            )
    result = chain("multi_dot", given)
    if last:
        result = squeeze(result, 1)
    return squeeze(result, 0) if first else result


@op(
    reference=lambda x, y, *, dim=-1: np.sum(x * y, axis=dim),
    samples=[sample(arg(2, 3), arg(2, 3)), sample(arg(2, 3), arg(3)), sample(arg(2, 3), arg(2, 3), dim=0)],
    namespace="linalg",
    method=False,
)
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The inner products of vectors along ``dim``; the other dimensions broadcast.

    >>> import accelgrad
    >>> accelgrad.linalg.vecdot(accelgrad.tensor([[1.0, 2.0], [3.0, 4.0]]), accelgrad.tensor([1.0, 1.0]))
    tensor([3., 7.])
    """
    return sum(mul(x, y), dim)


@op(
    reference=lambda x, y, *, dim=-1: np.cross(x, y, axis=dim),
    samples=[sample(arg(2, 3), arg(2, 3)), sample(arg(3, 2), arg(3, 2), dim=0)],
    errors=[
        (sample(arg(2, 2), arg(2, 2)), RuntimeError, "linalg.cross: inputs dimension 1 must have length 3")
    ],
    namespace="linalg",
    method=False,
)
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The vector product along a dimension of extent 3, the last by default.

    >>> import accelgrad
    >>> accelgrad.linalg.cross(accelgrad.tensor([1.0, 0.0, 0.0]), accelgrad.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    return cross_product(input, other, dim)


@op(
    reference=lambda x, *, N=None: np.stack([x**k for k in range(x.shape[-1] if N is None else N)], axis=-1),
    samples=[sample(arg(3)), sample(arg(2, 3), N=4)],
    errors=[(sample(arg(3), N=1), RuntimeError, "N must be greater than")],
    namespace="linalg",
    method=False,
)
def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Vandermonde's matrix: row i holds the powers 0 ... N - 1 of ``x[i]``; (..., n) gives (..., n, N).

    >>> import accelgrad
    >>> accelgrad.linalg.vander(accelgrad.tensor([1.0, 2.0, 3.0]))
    tensor([[1., 1., 1.],
            [1., 2., 4.],
            [1., 3., 9.]])
    """
    if x.array.ndim == 0:
        x = x.reshape((1,))
    count = x.array.shape[-1] if N is None else N
    if count < 2:
        raise RuntimeError(f"N must be greater than 1, but got {count}")
    powers = wrap(x.xp.arange(count), x.xp)
    return pow(unsqueeze(x, -1), powers)


@op(
    primitive=Inverse,
    reference=lambda A, ind=2: np.linalg.tensorinv(A, ind),
    samples=[
        sample(
            arg(2, 2, 4, values=(np.eye(4) * 3 + np.arange(16).reshape(4, 4) / 9).reshape(2, 2, 4).tolist())
        )
    ],
    errors=[(sample(arg(2, 3, 4)), RuntimeError, "Expected self to satisfy the requirement")],
    namespace="linalg",
    method=False,
)
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A as a linear map from its last dimensions to its first ``ind``: undoes ``tensordot``.

    RuntimeError where the products of the extents before and after ``ind`` differ.

    >>> import accelgrad
    >>> accelgrad.linalg.tensorinv(accelgrad.eye(4).reshape(4, 2, 2), ind=1).shape
    accelgrad.Size([2, 2, 4])
    """
    shape = A.array.shape
    rows, columns = math.prod(shape[:ind]), math.prod(shape[ind:])
    if rows != columns:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]),"
            f" but got {columns} != {rows}"
        )
    inverse = Inverse.apply(A.reshape((rows, columns)))
    return inverse.reshape((*shape[ind:], *shape[:ind]))


@op(
    primitive=Solve,
    reference=lambda A, B: np.linalg.tensorsolve(A, B),
    samples=[
        sample(
            arg(2, 2, 4, values=(np.eye(4) * 3 + np.arange(16).reshape(4, 4) / 9).reshape(2, 2, 4).tolist()),
            arg(2, 2),
        )
    ],
    namespace="linalg",
    method=False,
)
def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """The X with ``tensordot(A, X, X.ndim) = B``; ``dims`` of A are moved to its end first.

    >>> import accelgrad
    >>> accelgrad.linalg.tensorsolve(accelgrad.eye(4).reshape(2, 2, 2, 2), accelgrad.ones(2, 2)).shape
    accelgrad.Size([2, 2])
    """
    if dims is not None:
        A = movedim(A, tuple(dims), tuple(range(-len(dims), 0)))
    shape = A.array.shape[B.array.ndim :]
    size = math.prod(shape)
    if size != B.array.size:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) =="
            f" prod(self.shape[:other.ndim]), but got {size} != {B.array.size}"
        )
    return reshape(Solve.apply(reshape(A, (size, size)), reshape(B, (size, 1))), shape)


@op(
    primitive=None,
    reference=lambda A, *, offset=0, dim1=-2, dim2=-1: np.diagonal(A, offset, dim1, dim2),
    samples=[
        sample(arg(2, 3)),
        sample(arg(2, 3, 4), offset=1),
        sample(arg(2, 3, 4), offset=-1, dim1=0, dim2=1),
    ],
    errors=[(sample(arg(3)), IndexError, "Dimension out of range")],
    namespace="linalg",
    method=False,
    out=False,
)
def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices (..., m, n), as a view: :func:`accelgrad.diagonal` of the last dimensions.

    >>> import accelgrad
    >>> accelgrad.linalg.diagonal(accelgrad.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    return A.diagonal(offset, dim1, dim2)


def _numpy_renorm(x: Any, p: float, dim: int, maxnorm: float) -> Any:
    axes = tuple(i for i in range(x.ndim) if i != dim % x.ndim)
    norms = (np.abs(x) ** p).sum(axis=axes, keepdims=True) ** (1 / p)
    return x * np.where(norms > maxnorm, maxnorm / (norms + 1e-7), 1)


@op(
    reference=_numpy_renorm,
    samples=[sample(arg(3, 4), 2, 0, 1.5), sample(arg(2, 3, 2), 1, -1, 2.0), sample(arg(2, 3), 3.0, 1, 0.5)],
    errors=[
        (sample(arg(3), 2, 0, 1.0), RuntimeError, "renorm: input needs at least 2 dimensions, got 1"),
        (sample(arg(3, 2), -1, 0, 1.0), RuntimeError, "renorm: non-positive-norm not supported"),
        (sample(arg(3, 2), 1, 0, -1.0), RuntimeError, "renorm: expected maxnorm to be >= 0 but got -1"),
    ],
    inplace=True,
)
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Every slice along ``dim`` shortened to the p-norm ``maxnorm``, where it is longer.

    >>> import accelgrad
    >>> accelgrad.renorm(accelgrad.tensor([[3.0, 4.0], [0.3, 0.4]]), 2, 0, 1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    if input.array.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.array.ndim} dimensions")
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    kept = wrap_dim(dim, input.array.ndim)
    axes = tuple(i for i in range(input.array.ndim) if i != kept)
    norms = vector_norm(input, p, axes, keepdim=True)
    longer = wrap(norms.array > maxnorm, input.xp)
    return input * where(longer, maxnorm / (norms + 1e-7), 1.0)
