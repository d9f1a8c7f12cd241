"""Arithmetic of two operands, with its operators: add, sub, mul, div, remainder and others; neg and abs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.arrays.dtypes import Number
from accelgrad.core.primitive import Primitive
from accelgrad.core.reduced import of_one_type
from accelgrad.core.tensor import Tensor
from accelgrad.ops.registry import arg, op, sample

PAIRS = [
    sample(arg(2, 3), arg(2, 3)),
    sample(arg(2, 3), arg(3)),
    sample(arg(2, 1), arg(1, 3)),
    sample(arg(), arg(2)),
    sample(arg(0, 3), arg(3)),
    sample(arg(2, 3), 2.5),
]
INTEGERS = [
    sample(arg(2, 3, dtype="int64", low=-9, high=9), arg(3, dtype="int64", low=1, high=5)),
    sample(arg(2, 3, dtype="uint8", low=20, high=28), arg(2, 1, dtype="int8", low=1, high=9)),
    sample(arg(3, dtype="int32", low=-9, high=9), 3),
]
UNEQUAL = (
    sample(arg(2, 3), arg(2, 4)),
    RuntimeError,
    r"The size of tensor a \(3\) must match the size of tensor b \(4\) at non-singleton dimension 1",
)


class Pairwise(Primitive):
    """The parent of primitives that compute element by element from two operands of one dtype."""

    promotion = "common"

    @staticmethod
    def explain(error: Exception, arrays: list[Any]) -> Exception:
        return unequal_shapes([one for one in arrays if hasattr(one, "shape")]) or error


def unequal_shapes(arrays: list[Any]) -> Exception | None:
    """Return the error for shapes that do not broadcast, written one below the other; None if they do."""
    shapes = [tuple(one.shape) for one in arrays]
    depth = max(map(len, shapes), default=0)
    padded = [(1,) * (depth - len(shape)) + shape for shape in shapes]
    for first, a in enumerate(padded):
        for second in range(first + 1, len(padded)):
            b = padded[second]
            wrong = [i for i in range(depth) if a[i] != b[i] and a[i] != 1 and b[i] != 1]
            if not wrong:
                continue
            columns = [f"{'' if depth - i > len(shapes[first]) else a[i]:>5}" for i in range(depth)]
            others = [f"{'' if depth - i > len(shapes[second]) else b[i]:>5}" for i in range(depth)]
            marks = ["    ^" if i in wrong else "     " for i in range(depth)]
            axes = ", ".join(f"{i} ({a[i]} against {b[i]})" for i in wrong)
            return RuntimeError(
                f"The size of tensor a ({a[wrong[-1]]}) must match the size of tensor b"
                f" ({b[wrong[-1]]}) at non-singleton dimension {wrong[-1]}."
                " Shapes broadcast from the right, and extents must be equal or 1;"
                f" they differ in dimension {axes}:\n  a: {''.join(columns)}\n  b:"
                f" {''.join(others)}\n     {''.join(marks)}"
            )
    return None


class Add(Pairwise):
    """z = x + y,  dL/dx = dL/dz,  dL/dy = dL/dz."""

    direct = staticmethod(of_one_type)

    @staticmethod
    def forward(ctx, x, y):
        return x + y

    @staticmethod
    def backward(ctx, grad):
        return grad, grad


class Sub(Pairwise):
    """z = x - y,  dL/dx = dL/dz,  dL/dy = -dL/dz."""

    direct = staticmethod(of_one_type)

    @staticmethod
    def forward(ctx, x, y):
        return x - y

    @staticmethod
    def backward(ctx, grad):
        return grad, -grad if ctx.needs_input_grad[1] else None

    @staticmethod
    def explain(error: Exception, arrays: list[Any]) -> Exception:
        if all(_is_bool(one) for one in arrays):
            two = "two bool tensors" if all(hasattr(one, "dtype") for one in arrays) else "a bool tensor"
            return RuntimeError(
                f"Subtraction, the `-` operator, with {two} is not supported."
                " If you are trying to invert a mask, use the `~` or `logical_not()` operator instead."
            )
        return Pairwise.explain(error, arrays)


class Mul(Pairwise):
    """z = x y,  dL/dx = dL/dz y,  dL/dy = dL/dz x."""

    direct = staticmethod(of_one_type)

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        need_x, need_y = ctx.needs_input_grad
        return grad * y if need_x else None, grad * x if need_y else None


class Div(Pairwise):
    """z = x / y,  dL/dx = dL/dz / y,  dL/dy = -dL/dz x / y²."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        if type(y) is float and y == 0.0:
            # Python would raise where x is a number too; arrays give inf and nan.
            y = ctx.xp.asarray(y, dtype=x.dtype)
        return x / y

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        need_x, need_y = ctx.needs_input_grad
        return grad / y if need_x else None, -grad * ((x / y) / y) if need_y else None


def _refuse_zero(ctx: Any, y: Any) -> None:
    """Raise RuntimeError for a division of integers by zero, since integers have no infinity."""
    if hasattr(y, "dtype"):
        zero = y.dtype.kind != "f" and bool(ctx.xp.any(y == 0))
    else:
        zero = type(y) is not float and y == 0
    if zero:
        raise RuntimeError(
            "ZeroDivisionError: an integer tensor was divided by zero; use floats for inf and nan"
        )


def _is_bool(value: Any) -> bool:
    """Tell whether a value is a bool or an array of bools."""
    return type(value) is bool or (hasattr(value, "dtype") and value.dtype.kind == "b")


def _no_bools(name: str, x: Any, y: Any) -> None:
    """Raise NotImplementedError if both operands are bools."""
    if all(_is_bool(one) for one in (x, y)):
        raise NotImplementedError(f"\"{name}\" not implemented for 'Bool'; convert with .int() first")


class FloorDivide(Pairwise):
    """z = floor(x / y): a step function, so its gradient is 0."""

    @staticmethod
    def forward(ctx, x, y):
        _no_bools("div_floor_cpu", x, y)
        _refuse_zero(ctx, y)
        return ctx.xp.floor_divide(x, y)

    @staticmethod
    def backward(ctx, grad):
        zero = ctx.xp.zeros_like(grad)
        return zero, zero


class TruncDivide(Pairwise):
    """z = x / y rounded towards 0: a step function, so its gradient is 0."""

    @staticmethod
    def forward(ctx, x, y):
        _no_bools("div_trunc_cpu", x, y)
        _refuse_zero(ctx, y)
        if (x if hasattr(x, "dtype") else y).dtype.kind == "f":
            return ctx.xp.trunc(x / y)
        z = x // y
        return z + ((z < 0) & (z * y != x)).astype(z.dtype)

    @staticmethod
    def backward(ctx, grad):
        zero = ctx.xp.zeros_like(grad)
        return zero, zero


class Remainder(Pairwise):
    """z = x - y floor(x / y), with the sign of y:  dz/dx = 1,  dz/dy = -floor(x / y)."""

    @staticmethod
    def forward(ctx, x, y):
        _no_bools("remainder_cpu", x, y)
        _refuse_zero(ctx, y)
        ctx.save_for_backward(x, y)
        return ctx.xp.remainder(x, y)

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad, -grad * ctx.xp.floor(x / y) if ctx.needs_input_grad[1] else None


class Fmod(Pairwise):
    """z = x - y trunc(x / y), with the sign of x:  dz/dx = 1,  dz/dy = -trunc(x / y)."""

    @staticmethod
    def forward(ctx, x, y):
        _no_bools("fmod_cpu", x, y)
        _refuse_zero(ctx, y)
        ctx.save_for_backward(x, y)
        return ctx.xp.fmod(x, y)

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad, -grad * ctx.xp.trunc(x / y) if ctx.needs_input_grad[1] else None


class Neg(Primitive):
    """y = -x,  dL/dx = -dL/dy."""

    @staticmethod
    def forward(ctx, x):
        return -x

    @staticmethod
    def backward(ctx, grad):
        return -grad

    @staticmethod
    def explain(error: Exception, arrays: list[Any]) -> Exception:
        return RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported."
            " If you are trying to invert a mask, use the `~` or `logical_not()` operator instead."
        )


class Abs(Primitive):
    """y = |x|,  dL/dx = dL/dy sign(x), which is 0 at 0."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.abs(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ctx.xp.sign(x)


def _scaled(other: Any, alpha: Number, input: Any) -> Any:
    """Return ``alpha * other`` for add and sub.

    RuntimeError for an alpha that would change the category of the result, e.g. a float between integers.
    """
    kinds = [
        one.dtype.category if isinstance(one, Tensor) else dtypes.of_number(one).category
        for one in (input, other)
    ]
    if dtypes.of_number(alpha).category > max(kinds):
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    return other * alpha


@op(
    primitive=Add,
    reference=lambda x, y, alpha=1: x + alpha * y,
    samples=[*PAIRS, sample(arg(2, 3), arg(3), alpha=3), *INTEGERS],
    errors=[
        UNEQUAL,
        (
            sample(arg(2, dtype="int64"), arg(2, dtype="int64"), alpha=0.5),
            RuntimeError,
            "For integral input tensors, argument alpha must not be a floating point number",
        ),
    ],
    inplace=True,
    operators=("__add__", "__radd__", "__iadd__"),
)
def add(input: Tensor, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    """Return ``input + alpha * other``, element by element.

    Shapes broadcast, e.g. (m, n) with (n,), and dtypes are promoted by PyTorch's rules.  RuntimeError if the
    shapes do not broadcast, or for a floating point ``alpha`` between integers.

    >>> import accelgrad
    >>> accelgrad.add(accelgrad.tensor([1.0, 2.0]), 10, alpha=2)
    tensor([21., 22.])
    """
    return Add.apply(input, other if alpha == 1 else _scaled(other, alpha, input))


@op(
    primitive=Sub,
    reference=lambda x, y, alpha=1: x - alpha * y,
    samples=[*PAIRS, sample(arg(2, 3), arg(3), alpha=3), *INTEGERS],
    errors=[
        UNEQUAL,
        (
            sample(arg(2, dtype="bool"), arg(2, dtype="bool")),
            RuntimeError,
            "Subtraction, the `-` operator, with two bool",
        ),
        (
            sample(arg(2, dtype="bool"), True),
            RuntimeError,
            "Subtraction, the `-` operator, with a bool tensor",
        ),
    ],
    inplace=True,
    aliases=("subtract",),
    operators=("__sub__", "__rsub__", "__isub__"),
)
def sub(input: Tensor, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    """Return ``input - alpha * other``, element by element.

    Shapes broadcast and dtypes are promoted as in :func:`add`.  RuntimeError for two bools.

    >>> import accelgrad
    >>> accelgrad.sub(accelgrad.tensor([1.0, 2.0]), 1)
    tensor([0., 1.])
    """
    return Sub.apply(input, other if alpha == 1 else _scaled(other, alpha, input))


@op(primitive=Sub, reference=lambda x, y, alpha=1: y - alpha * x, out=False, method=False,
    samples=[sample(arg(2, 3), arg(3)), sample(arg(2, 3), 1.5), sample(arg(2), arg(3, 2), alpha=2)],
)  # fmt: skip
def rsub(input: Tensor, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    """Return ``other - alpha * input``, element by element: :func:`sub` with its operands exchanged.

    >>> import accelgrad
    >>> accelgrad.rsub(accelgrad.tensor([1.0, 2.0]), 10)
    tensor([9., 8.])
    """
    return Sub.apply(other, input if alpha == 1 else _scaled(input, alpha, other))


@op(
    primitive=Mul,
    reference=np.multiply,
    samples=[*PAIRS, *INTEGERS],
    errors=[UNEQUAL],
    inplace=True,
    aliases=("multiply",),
    operators=("__mul__", "__rmul__", "__imul__"),
)
def mul(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return ``input * other``, element by element.

    Shapes broadcast and dtypes are promoted as in :func:`add`.

    >>> import accelgrad
    >>> accelgrad.mul(accelgrad.tensor([1.0, 2.0]), accelgrad.tensor([[2.0], [3.0]]))
    tensor([[2., 4.],
            [3., 6.]])
    """
    return Mul.apply(input, other)


def as_default(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a NumPy reference round results from integers to float32, the default floating point type."""

    def reference(*arrays: Any, **options: Any) -> Any:
        result = function(*arrays, **options)
        floats = [getattr(one, "dtype", np.dtype(type(one))).kind == "f" for one in arrays]
        return result if floats[0] or result.dtype.kind != "f" else result.astype(np.float32)

    return reference


def _divided(x: Any, y: Any, rounding_mode: str | None = None) -> Any:
    """Divide with NumPy as :func:`div` does."""
    if rounding_mode is None:
        return np.divide(x, y)
    return np.floor_divide(x, y) if rounding_mode == "floor" else np.trunc(np.divide(x, y))


QUOTIENTS = [
    sample(arg(2, 3), arg(3, low=0.5)),
    sample(arg(2, 1), arg(1, 3, low=-2, high=-0.5)),
    sample(arg(2, 3), 2),
    sample(arg(), arg(low=0.5)),
    sample(arg(0, 3), arg(3, low=0.5)),
]


@op(
    primitive=Div,
    reference=as_default(_divided),
    samples=[
        *QUOTIENTS,
        *INTEGERS,
        sample(arg(2, 3), arg(3, low=0.5), rounding_mode="floor"),
        sample(arg(2, 3), 0.7, rounding_mode="trunc"),
        sample(
            arg(2, 3, dtype="int64", low=-9, high=9),
            arg(3, dtype="int64", low=1, high=4),
            rounding_mode="trunc",
        ),
        sample(arg(2, 3, dtype="int64", low=-9, high=9), -2, rounding_mode="floor"),
    ],
    errors=[
        UNEQUAL,
        (
            sample(arg(2), 2, rounding_mode="up"),
            RuntimeError,
            "div expected rounding_mode to be one of None, 'trunc', or",
        ),
        (sample(arg(2, dtype="int64"), 0, rounding_mode="floor"), RuntimeError, "ZeroDivisionError"),
    ],
    inplace=True,
    aliases=("divide",),
)
def div(input: Tensor, other: Tensor | Number, *, rounding_mode: str | None = None) -> Tensor:
    """Return ``input / other``, element by element, rounded as ``rounding_mode`` says.

    ``rounding_mode`` is None, "trunc" (towards 0) or "floor" (downwards).  Without rounding, integers become
    the default floating point dtype; with it they stay integers, and their division by zero is a
    RuntimeError. The rounded forms have gradient 0.  Shapes broadcast as in :func:`add`.

    >>> import accelgrad
    >>> accelgrad.div(accelgrad.tensor([-7, 7]), 2)
    tensor([-3.5000,  3.5000])
    >>> accelgrad.div(accelgrad.tensor([-7, 7]), 2, rounding_mode="floor")
    tensor([-4,  3])
    """
    if rounding_mode is None:
        return Div.apply(input, other)
    if rounding_mode == "floor":
        return FloorDivide.apply(input, other)
    if rounding_mode == "trunc":
        return TruncDivide.apply(input, other)
    raise RuntimeError(
        f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found {rounding_mode!r}"
    )


@op(
    primitive=Div,
    reference=as_default(np.divide),
    samples=[*QUOTIENTS, *INTEGERS],
    errors=[UNEQUAL],
    inplace=True,
    operators=("__truediv__", "__rtruediv__", "__itruediv__"),
)
def true_divide(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return ``input / other``, element by element; integers become the default floating point dtype.

    >>> import accelgrad
    >>> accelgrad.true_divide(accelgrad.tensor([1, 2]), 2)
    tensor([0.5000, 1.0000])
    """
    return Div.apply(input, other)


@op(
    primitive=FloorDivide,
    reference=np.floor_divide,
    samples=[sample(arg(2, 3, requires_grad=False), arg(3, low=0.5, requires_grad=False)), *INTEGERS],
    errors=[UNEQUAL],
    inplace=True,
    operators=("__floordiv__", "__rfloordiv__", "__ifloordiv__"),
)
def floor_divide(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return ``input / other`` rounded downwards, element by element; integers stay integers.

    The gradient is 0.  RuntimeError for integers divided by zero, NotImplementedError for two bools.

    >>> import accelgrad
    >>> accelgrad.floor_divide(accelgrad.tensor([-7, 7]), 2)
    tensor([-4,  3])
    """
    return FloorDivide.apply(input, other)


@op(
    primitive=Remainder,
    reference=np.remainder,
    samples=[*QUOTIENTS, *INTEGERS],
    errors=[UNEQUAL],
    inplace=True,
    operators=("__mod__", "__rmod__", "__imod__"),
)
def remainder(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return ``input - other * floor(input / other)``: Python's ``%``, which has the sign of ``other``.

    RuntimeError for integers divided by zero, NotImplementedError for two bools.

    >>> import accelgrad
    >>> accelgrad.remainder(accelgrad.tensor([-3.0, 3.0]), 2)
    tensor([1., 1.])
    """
    return Remainder.apply(input, other)


@op(primitive=Fmod, reference=np.fmod, samples=[*QUOTIENTS, *INTEGERS], errors=[UNEQUAL], inplace=True)
def fmod(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return ``input - other * trunc(input / other)``: C's ``fmod``, which has the sign of ``input``.

    RuntimeError for integers divided by zero, NotImplementedError for two bools.

    >>> import accelgrad
    >>> accelgrad.fmod(accelgrad.tensor([-3.0, 3.0]), 2)
    tensor([-1.,  1.])
    """
    return Fmod.apply(input, other)


@op(
    primitive=Neg,
    reference=np.negative,
    samples=[sample(arg(2, 3)), sample(arg()), sample(arg(0, 2))],
    inplace=True,
    errors=[(sample(arg(2, dtype="bool")), RuntimeError, "Negation, the `-` operator, on a bool tensor")],
    operators=("__neg__",),
    aliases=("negative",),
    also=("neg_", "negative_"),
)
def neg(input: Tensor) -> Tensor:
    """Return ``-input``, element by element; RuntimeError for bools.

    >>> import accelgrad
    >>> -accelgrad.tensor([1.0, -2.0])
    tensor([-1.,  2.])
    """
    return Neg.apply(input)


@op(
    primitive=Abs,
    reference=np.abs,
    samples=[
        sample(arg(2, 3, distinct=True)),
        sample(arg()),
        sample(arg(0, 2)),
        sample(arg(3, dtype="int64")),
    ],
    inplace=True,
    operators=("__abs__",),
    aliases=("absolute",),
    also=("abs_",),
)
def abs(input: Tensor) -> Tensor:
    """Return the absolute value of every element; its gradient is the sign, 0 at 0.

    >>> import accelgrad
    >>> accelgrad.abs(accelgrad.tensor([1.0, -2.0]))
    tensor([1., 2.])
    """
    return Abs.apply(input)
