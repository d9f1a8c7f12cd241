"""Matrix products: matmul with its operator, mm, bmm, mv, dot, outer, addmm and their kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.ops.arithmetic import Number, hang_operators, unequal_shapes
from accelgrad.ops.registry import arg, op, sample
from accelgrad.primitive import Primitive
from accelgrad.tensor import Tensor


class Matmul(Primitive):
    """z = x y over the last two dimensions,  dL/dx = dL/dz y',  dL/dy = x' dL/dz  (' is transposed).

    A vector counts as one row on the left and as one column on the right.
    """

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        if x.dtype is not y.dtype and x.dtype != y.dtype:
            raise RuntimeError(
                f"expected m1 and m2 to have the same dtype, but got: {x.dtype} != {y.dtype}; NumPy's arrays are float64"
                " unless told otherwise: convert one with .float() or .to(other.dtype)"
            )
        ctx.save_for_backward(x, y)
        if x.dtype == "float16":  # NumPy would add up in float16
            return ctx.xp.matmul(x.astype("float32"), y.astype("float32")).astype("float16")
        if y.ndim == 2 and x.ndim > 2 and x.size and x.flags.c_contiguous:  # one large product, not many small ones
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
                f"both arguments to matmul need to be at least 1D, but they are {len(a)}D and {len(b)}D; use * to scale"
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
            f"inconsistent tensor size, expected tensor [{a[0]}] and src [{b[0]}] to have the same number of elements, but"
            f" got {a[0]} and {b[0]} elements respectively"
        )
    if len(b) == 1:
        return RuntimeError(f"size mismatch, got input ({a[-2]}), mat ({a[-2]}x{a[-1]}), vec ({b[0]})")
    if len(b) > 2 and len(a) > 2:
        return RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{b[0]}, {a[-1]}] but got:"
            f" [{b[0]}, {inner}]. The last dimension of {a} must equal the second last of {b}"
        )
    rows = 1 if len(a) == 1 else _rows(a)
    hint = "; did you mean b.mT?" if b[-1] == a[-1] else ""
    return RuntimeError(
        f"mat1 and mat2 shapes cannot be multiplied ({rows}x{a[-1]} and {inner}x{b[-1]}): the last dimension of {a} must"
        f" equal the second last of {b}{hint}"
    )


hang_operators(matmul=Matmul)
del Tensor.__imatmul__  # type: ignore[attr-defined]  # x @= y makes a new tensor, whose shape may differ


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
        (sample(arg(2, 8), arg(10, 3)), RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(2x8 and 10x3\)"),
        (sample(arg(2), arg(3)), RuntimeError, "inconsistent tensor size"),
        (sample(arg(2, 3), arg(2)), RuntimeError, "size mismatch, got input"),
        (sample(arg(2, 3, 4), arg(2, 3, 4)), RuntimeError, "Expected size for first two dimensions of batch2"),
        (sample(arg(2, 3, 4), arg(3, 4, 4)), RuntimeError, r"The size of tensor a \(2\) must match"),
        (sample(arg(), arg(3)), RuntimeError, "both arguments to matmul need to be at least 1D"),
        (sample(arg(2, 2), arg(2, 2, dtype="int64")), RuntimeError, "expected m1 and m2 to have the same dtype"),
    ],
)
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product ``input @ other``.

    Shapes: (n, k) and (k, m) give (n, m); leading dimensions are a batch, and broadcast; a 1-D tensor is a row on the left
    and a column on the right, and its dimension is dropped; two 1-D tensors give a 0-d tensor.  Both of one dtype.
    RuntimeError where the inner extents or the dtypes differ.

    >>> import accelgrad
    >>> accelgrad.matmul(accelgrad.tensor([[1.0, 2.0], [3.0, 4.0]]), accelgrad.tensor([1.0, 1.0]))
    tensor([3., 7.])
    """
    return Matmul.apply(input, other)


def needs_dims(name: str, which: str, tensor: Tensor, ndim: int) -> None:
    """RuntimeError where a tensor has another number of dimensions than ``name`` expects."""
    if tensor.array.ndim != ndim:
        what = {1: "1D", 2: "2D", 3: "3D"}[ndim]
        raise RuntimeError(
            f"{name}: {which} must be a {'matrix' if ndim == 2 else f'{what} tensor'}, got {tensor.array.ndim}-D tensor of"
            f" shape {tuple(tensor.shape)}"
        )


@op(
    primitive=Matmul,
    reference=np.matmul,
    samples=[sample(arg(2, 3), arg(3, 4)), sample(arg(2, 0), arg(0, 3)), sample(arg(1, 2), arg(2, 1))],
    errors=[
        (sample(arg(2, 3), arg(2, 3)), RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 2x3\)"),
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
        raise RuntimeError(f"self must be a matrix, but mm got a tensor of shape {tuple(input.shape)}; use matmul")
    if mat2.array.ndim != 2:
        raise RuntimeError(f"mat2 must be a matrix, but mm got a tensor of shape {tuple(mat2.shape)}; use matmul")
    return Matmul.apply(input, mat2)
