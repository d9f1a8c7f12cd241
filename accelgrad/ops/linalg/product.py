"""Matrix products: matmul with its operator, mm, bmm, mv, dot, outer, addmm and their kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.arrays.dtypes import Number
from accelgrad.core.primitive import Primitive
from accelgrad.core.reduced import cublas_takes_product, one_step
from accelgrad.core.tensor import Tensor
from accelgrad.ops.pointwise.arithmetic import Add, Mul, unequal_shapes
from accelgrad.ops.reductions.reduce import sum
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.shapes.expand import broadcast_to
from accelgrad.ops.shapes.shape import unsqueeze


class Matmul(Primitive):
    """z = x y over the last two dimensions,  dL/dx = dL/dz y',  dL/dy = x' dL/dz  (' is transposed).

    A vector counts as one row on the left and as one column on the right.
    """

    direct = staticmethod(cublas_takes_product)

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        if x.dtype is not y.dtype and x.dtype != y.dtype:
            raise RuntimeError(
                f"expected m1 and m2 to have the same dtype, but got: {x.dtype} != {y.dtype};"
                " NumPy's arrays are float64 unless told otherwise:"
                " convert one with .float() or .to(other.dtype)"
            )
        ctx.save_for_backward(x, y)
        if y.ndim == 2 and x.ndim > 2 and x.size and x.flags.c_contiguous:
            # One large product, not many small ones.
            z = ctx.xp.matmul(ctx.xp.reshape(x, (-1, x.shape[-1])), y)
            return ctx.xp.reshape(z, (*x.shape[:-1], y.shape[1]))
        return ctx.xp.matmul(x, y)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        x, y = ctx.saved_tensors
        need_x, need_y = ctx.needs_input_grad
        grad_x = grad_y = None
        if x.ndim == 1 and y.ndim == 1:
            return grad * y if need_x else None, grad * x if need_y else None
        if x.ndim == 1:  # (k) (..., k, m) -> (..., m)
            grad = xp.expand_dims(grad, -2)
            if need_x:
                grad_x = xp.squeeze(xp.matmul(grad, xp.swapaxes(y, -1, -2)), -2)
            if need_y:
                grad_y = xp.expand_dims(x, -1) * grad
            return grad_x, grad_y
        if y.ndim == 1:  # (..., n, k) (k) -> (..., n)
            if need_x:
                grad_x = xp.expand_dims(grad, -1) * y
            if need_y:
                grad_y = xp.squeeze(xp.matmul(xp.swapaxes(x, -1, -2), xp.expand_dims(grad, -1)), -1)
            return grad_x, grad_y
        if need_x:
            grad_x = xp.matmul(grad, xp.swapaxes(y, -1, -2))
        if need_y and y.ndim == 2 and x.ndim > 2:  # the sum over the batch is part of the product
            rows = xp.reshape(x, (_rows(x.shape), x.shape[-1]))
            grad_y = xp.matmul(xp.swapaxes(rows, 0, 1), xp.reshape(grad, (_rows(x.shape), y.shape[1])))
        elif need_y:
            grad_y = xp.matmul(xp.swapaxes(x, -1, -2), grad)
        return grad_x, grad_y

    @staticmethod
    def explain(error: Exception, arrays: list[Any]) -> Exception:
        if not all(hasattr(one, "shape") for one in arrays):
            return error
        a, b = (tuple(one.shape) for one in arrays)
        if not a or not b:
            return RuntimeError(
                f"both arguments to matmul need to be at least 1D, but they are {len(a)}D and {len(b)}D;"
                " use * to scale"
            )
        return mismatch(a, b) or unequal_shapes([_Shape(a[:-2]), _Shape(b[:-2])]) or error


class _Shape:
    """Something that has a shape: the batch dimensions of an operand."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape


def _rows(shape: tuple[int, ...]) -> int:
    rows = 1
    for extent in shape[:-1]:
        rows *= extent
    return rows


def mismatch(a: tuple[int, ...], b: tuple[int, ...]) -> Exception | None:
    """The error where the inner extents of a product differ; None where they agree."""
    inner = b[-2] if len(b) > 1 else b[0]
    if a[-1] == inner:
        return None
    if len(a) == 1 and len(b) == 1:
        return RuntimeError(
            f"inconsistent tensor size, expected tensor [{a[0]}]"
            f" and src [{b[0]}] to have the same number of elements,"
            f" but got {a[0]} and {b[0]} elements respectively"
        )
    if len(b) == 1:
        return RuntimeError(f"size mismatch, got input ({a[-2]}), mat ({a[-2]}x{a[-1]}), vec ({b[0]})")
    if len(b) > 2 and len(a) > 2:
        return RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{b[0]}, {a[-1]}] but got:"
            f" [{b[0]}, {inner}]."
            f" The last dimension of {a} must equal the second last of {b}"
        )
    rows = 1 if len(a) == 1 else _rows(a)
    hint = "; did you mean b.mT?" if b[-1] == a[-1] else ""
    return RuntimeError(
        f"mat1 and mat2 shapes cannot be multiplied ({rows}x{a[-1]} and {inner}x{b[-1]}):"
        f" the last dimension of {a} must equal the second last of {b}{hint}"
    )


@op(
    primitive=Matmul,
    reference=np.matmul,
    samples=[
        sample(arg(2, 3), arg(3, 4)),
        sample(arg(3), arg(3)),
        sample(arg(3), arg(3, 2)),
        sample(arg(2, 3), arg(3)),
        sample(arg(2, 2, 3), arg(3, 4)),
        sample(arg(2, 1, 2, 3), arg(3, 3, 2)),
        sample(arg(3), arg(2, 3, 2)),
        sample(arg(2, 2, 3), arg(3)),
        sample(arg(2, 0), arg(0, 3)),
        sample(arg(0, 2, 3), arg(3, 2)),
        sample(arg(2, 3, dtype="int64"), arg(3, 2, dtype="int64")),
    ],
    errors=[
        (
            sample(arg(2, 8), arg(10, 3)),
            RuntimeError,
            r"mat1 and mat2 shapes cannot be multiplied \(2x8 and 10x3\)",
        ),
        (sample(arg(2), arg(3)), RuntimeError, "inconsistent tensor size"),
        (sample(arg(2, 3), arg(2)), RuntimeError, "size mismatch, got input"),
        (
            sample(arg(2, 3, 4), arg(2, 3, 4)),
            RuntimeError,
            "Expected size for first two dimensions of batch2",
        ),
        (sample(arg(2, 3, 4), arg(3, 4, 4)), RuntimeError, r"The size of tensor a \(2\) must match"),
        (sample(arg(), arg(3)), RuntimeError, "both arguments to matmul need to be at least 1D"),
        (
            sample(arg(2, 2), arg(2, 2, dtype="int64")),
            RuntimeError,
            "expected m1 and m2 to have the same dtype",
        ),
    ],
    # No "__imatmul__": x @= y makes a new tensor, whose shape may differ.
    operators=("__matmul__", "__rmatmul__"),
    also=("linalg.matmul",),
)
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product ``input @ other``.

    Shapes: (n, k) and (k, m) give (n, m); leading dimensions are a batch, and broadcast; a 1-D tensor is a
    row on the left and a column on the right, and its dimension is dropped; two 1-D tensors give a 0-d
    tensor.  Both of one dtype. RuntimeError where the inner extents or the dtypes differ.

    >>> import accelgrad
    >>> accelgrad.matmul(accelgrad.tensor([[1.0, 2.0], [3.0, 4.0]]), accelgrad.tensor([1.0, 1.0]))
    tensor([3., 7.])
    """
    return Matmul.apply(input, other)


@op(
    primitive=Matmul,
    reference=np.matmul,
    samples=[sample(arg(2, 3), arg(3, 4)), sample(arg(2, 0), arg(0, 3)), sample(arg(1, 2), arg(2, 1))],
    errors=[
        (
            sample(arg(2, 3), arg(2, 3)),
            RuntimeError,
            r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 2x3\)",
        ),
        (sample(arg(2), arg(2, 3)), RuntimeError, "self must be a matrix"),
    ],
)
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices: (n, k) and (k, m) give (n, m); nothing broadcasts.

    >>> import accelgrad
    >>> accelgrad.mm(accelgrad.ones(2, 3), accelgrad.ones(3, 2))
    tensor([[3., 3.],
            [3., 3.]])
    """
    if input.array.ndim != 2:
        raise RuntimeError(
            f"self must be a matrix, but mm got a tensor of shape {tuple(input.shape)}; use matmul"
        )
    if mat2.array.ndim != 2:
        raise RuntimeError(
            f"mat2 must be a matrix, but mm got a tensor of shape {tuple(mat2.shape)}; use matmul"
        )
    return Matmul.apply(input, mat2)


@op(
    primitive=Matmul,
    reference=np.matmul,
    samples=[sample(arg(2, 2, 3), arg(2, 3, 4)), sample(arg(0, 2, 3), arg(0, 3, 2))],
    errors=[
        (sample(arg(2, 3), arg(2, 3, 4)), RuntimeError, "batch1 must be a 3D tensor"),
        (
            sample(arg(2, 2, 3), arg(3, 3, 4)),
            RuntimeError,
            "Expected size for first two dimensions of batch2 tensor",
        ),
        (
            sample(arg(2, 2, 3), arg(2, 4, 4)),
            RuntimeError,
            "Expected size for first two dimensions of batch2 tensor",
        ),
    ],
)
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of two batches of matrices: (b, n, k) and (b, k, m) give (b, n, m); nothing broadcasts.

    >>> import accelgrad
    >>> accelgrad.bmm(accelgrad.ones(2, 1, 3), accelgrad.ones(2, 3, 1))
    tensor([[[3.]],
    <BLANKLINE>
            [[3.]]])
    """
    for name, one in (("batch1", input), ("batch2", mat2)):
        if one.array.ndim != 3:
            raise RuntimeError(
                f"{name} must be a 3D tensor, but bmm got one of shape {tuple(one.shape)}; use matmul"
            )
    a, b = input.array.shape, mat2.array.shape
    if a[0] != b[0] or a[2] != b[1]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{a[0]}, {a[2]}] but got:"
            f" [{b[0]}, {b[1]}]."
        )
    return Matmul.apply(input, mat2)


@op(
    primitive=Matmul,
    reference=np.matmul,
    samples=[sample(arg(2, 3), arg(3)), sample(arg(2, 0), arg(0))],
    errors=[
        (sample(arg(2, 3), arg(2)), RuntimeError, "size mismatch, got input"),
        (sample(arg(2), arg(2)), RuntimeError, r"vector \+ matrix @ vector expected"),
    ],
)
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix and a vector: (n, k) and (k) give (n).

    >>> import accelgrad
    >>> accelgrad.mv(accelgrad.ones(2, 3), accelgrad.ones(3))
    tensor([3., 3.])
    """
    if input.array.ndim != 2 or vec.array.ndim != 1:
        raise RuntimeError(
            f"vector + matrix @ vector expected, got 1, {input.array.ndim}, {vec.array.ndim}:"
            " mv takes a matrix and a vector"
        )
    return Matmul.apply(input, vec)


def _vectors(name: str, input: Tensor, other: Tensor) -> None:
    if input.array.ndim != 1 or other.array.ndim != 1:
        raise RuntimeError(
            f"1D tensors expected, but got {input.array.ndim}D and {other.array.ndim}D tensors:"
            f" {name} takes two vectors; use matmul for matrices"
        )


@op(
    primitive=Matmul,
    reference=np.dot,
    samples=[
        sample(arg(3), arg(3)),
        sample(arg(0), arg(0)),
        sample(arg(3, dtype="int64"), arg(3, dtype="int64")),
    ],
    errors=[
        (sample(arg(2, 3), arg(3)), RuntimeError, "1D tensors expected, but got 2D and 1D tensors"),
        (sample(arg(2), arg(3)), RuntimeError, "inconsistent tensor size"),
    ],
)
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The inner product of two vectors, as a 0-d tensor.

    >>> import accelgrad
    >>> accelgrad.dot(accelgrad.tensor([1.0, 2.0]), accelgrad.tensor([3.0, 4.0]))
    tensor(11.)
    """
    _vectors("dot", input, tensor)
    return Matmul.apply(input, tensor)


@op(primitive=Matmul, reference=np.vdot, samples=[sample(arg(3), arg(3))])
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """The inner product of two vectors: the same as :func:`dot`, as there are no complex tensors here.

    >>> import accelgrad
    >>> accelgrad.vdot(accelgrad.tensor([1.0, 2.0]), accelgrad.tensor([3.0, 4.0]))
    tensor(11.)
    """
    _vectors("vdot", input, other)
    return Matmul.apply(input, other)


@op(
    primitive=Mul,
    reference=np.outer,
    samples=[sample(arg(3), arg(2)), sample(arg(0), arg(2)), sample(arg(2, dtype="int64"), arg(2))],
    errors=[(sample(arg(2, 3), arg(3)), RuntimeError, "outer: Expected 1-D argument self, but got 2-D")],
    aliases=("ger",),
)
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """All products of two vectors: (n) and (m) give (n, m).

    >>> import accelgrad
    >>> accelgrad.outer(accelgrad.tensor([1.0, 2.0]), accelgrad.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    for name, one in (("self", input), ("vec2", vec2)):
        if one.array.ndim != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {name}, but got {one.array.ndim}-D")
    return Mul.apply(unsqueeze(input, 1), vec2)


# --- added to something


def _added(input: Tensor, product: Tensor, beta: Number, alpha: Number) -> Tensor:
    """``beta input + alpha product``.

    With beta = 0 the input is not looked at, so that its NaN do not spread.
    """
    whole = {"b": bool, "i": int, "u": int}.get(product.array.dtype.kind)
    if whole is not None:  # integers stay integers
        alpha, beta = whole(alpha), whole(beta)
    if alpha != 1:
        product = Mul.apply(product, alpha)
    if beta == 0:
        return broadcast_to(product, tuple(np.broadcast_shapes(input.array.shape, product.array.shape)))
    return Add.apply(input if beta == 1 else Mul.apply(input, beta), product)


def _add_reference(product: Any) -> Any:
    return lambda x, a, b, *, beta=1, alpha=1: beta * x + alpha * product(a, b)


@op(
    primitive=Matmul,
    reference=_add_reference(np.matmul),
    samples=[
        sample(arg(4), arg(2, 3), arg(3, 4)),
        sample(arg(2, 4), arg(2, 3), arg(3, 4), beta=0.5, alpha=2),
        sample(arg(2, 1), arg(2, 0), arg(0, 4)),
    ],
    errors=[
        (
            sample(arg(3), arg(2, 8), arg(10, 3)),
            RuntimeError,
            r"mat1 and mat2 shapes cannot be multiplied \(2x8 and 10x3\)",
        )
    ],
    inplace=True,
)
@one_step()
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """``beta * input + alpha * (mat1 @ mat2)``; ``input`` broadcasts to the product.

    >>> import accelgrad
    >>> accelgrad.addmm(accelgrad.ones(2), accelgrad.ones(2, 3), accelgrad.ones(3, 2))
    tensor([[4., 4.],
            [4., 4.]])
    """
    return _added(input, mm(mat1, mat2), beta, alpha)


@op(
    primitive=Matmul,
    reference=_add_reference(np.matmul),
    samples=[sample(arg(2), arg(2, 3), arg(3)), sample(arg(2), arg(2, 3), arg(3), beta=0, alpha=2)],
    inplace=True,
)
@one_step()
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """``beta * input + alpha * (mat @ vec)``; ``input`` broadcasts to the product.

    >>> import accelgrad
    >>> accelgrad.addmv(accelgrad.ones(2), accelgrad.ones(2, 3), accelgrad.ones(3))
    tensor([4., 4.])
    """
    return _added(input, mv(mat, vec), beta, alpha)


@op(
    primitive=Mul,
    reference=_add_reference(np.outer),
    samples=[sample(arg(2, 3), arg(2), arg(3)), sample(arg(3), arg(2), arg(3), beta=2, alpha=0.5)],
    inplace=True,
)
@one_step()
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """``beta * input + alpha * outer(vec1, vec2)``; ``input`` broadcasts to the product.

    >>> import accelgrad
    >>> accelgrad.addr(accelgrad.ones(2, 2), accelgrad.tensor([1.0, 2.0]), accelgrad.tensor([3.0, 4.0]))
    tensor([[4., 5.],
            [7., 9.]])
    """
    return _added(input, outer(vec1, vec2), beta, alpha)


@op(
    primitive=Matmul,
    reference=_add_reference(np.matmul),
    samples=[
        sample(arg(2, 2, 4), arg(2, 2, 3), arg(2, 3, 4)),
        sample(arg(4), arg(2, 2, 3), arg(2, 3, 4), beta=2, alpha=0.5),
    ],
    inplace=True,
)
@one_step()
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """``beta * input + alpha * bmm(batch1, batch2)``; ``input`` broadcasts to the product.

    >>> import accelgrad
    >>> accelgrad.baddbmm(accelgrad.ones(1), accelgrad.ones(1, 1, 3), accelgrad.ones(1, 3, 1))
    tensor([[[4.]]])
    """
    return _added(input, bmm(batch1, batch2), beta, alpha)


@op(
    primitive=Matmul,
    reference=_add_reference(lambda a, b: np.matmul(a, b).sum(0)),
    samples=[
        sample(arg(2, 4), arg(3, 2, 3), arg(3, 3, 4)),
        sample(arg(4), arg(3, 2, 3), arg(3, 3, 4), beta=2, alpha=0.5),
    ],
    inplace=True,
)
@one_step()
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """``beta * input + alpha * bmm(batch1, batch2).sum(0)``; ``input`` broadcasts to the sum.

    >>> import accelgrad
    >>> accelgrad.addbmm(accelgrad.ones(1, 1), accelgrad.ones(2, 1, 3), accelgrad.ones(2, 3, 1))
    tensor([[7.]])
    """
    return _added(input, sum(bmm(batch1, batch2), 0), beta, alpha)
