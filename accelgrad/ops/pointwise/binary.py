"""Further functions of two operands, element by element: hypot, atan2, logaddexp, xlogy, lerp, addcmul."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.arrays.dtypes import Number
from accelgrad.core import graph
from accelgrad.core.inplace import assign
from accelgrad.core.reduced import one_step
from accelgrad.core.tensor import Tensor
from accelgrad.ops.pointwise.arithmetic import PAIRS, UNEQUAL, Add, Mul, Pairwise, Sub
from accelgrad.ops.pointwise.elementwise import as_float32
from accelgrad.ops.pointwise.power import Pow
from accelgrad.ops.registry import arg, checks, op, sample
from accelgrad.ops.registry.checks import title

TWO = PAIRS[:-1]
WHOLE = (
    sample(arg(2, dtype="int64"), arg(2, dtype="int64")),
    NotImplementedError,
    "not implemented for 'Long': it needs floating point numbers",
)


def floats(name: str, *arrays: Any) -> None:
    """Raise NotImplementedError for arrays of integers, which NumPy would turn into some float dtype."""
    for one in arrays:
        if hasattr(one, "dtype"):
            checks.must_be_floating(one, name)


class Hypot(Pairwise):
    """z = √(x² + y²),  dL/dx = dL/dz x / z,  dL/dy = dL/dz y / z."""

    @staticmethod
    def forward(ctx, x, y):
        floats("hypot_cpu", x, y)
        z = ctx.xp.hypot(x, y)
        ctx.save_for_backward(x, y, z)
        return z

    @staticmethod
    def backward(ctx, grad):
        x, y, z = ctx.saved_tensors
        return grad * (x / z), grad * (y / z)


class Atan2(Pairwise):
    """z = the angle of the point (y, x),  dL/dx = dL/dz y / (x² + y²),  dL/dy = -dL/dz x / (x² + y²)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return ctx.xp.arctan2(x, y)

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        share = grad / (x * x + y * y)
        return share * y, -share * x


class Copysign(Pairwise):
    """z = |x| with the sign of y,  dL/dx = dL/dz sign(x) sign(z), 0 at 0;  dL/dy = 0."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x, y):
        z = ctx.xp.copysign(x, y)
        ctx.save_for_backward(x, z)
        return z

    @staticmethod
    def backward(ctx, grad):
        x, z = ctx.saved_tensors
        return grad * (ctx.xp.sign(x) * ctx.xp.sign(z)), ctx.xp.zeros_like(grad)


class Nextafter(Pairwise):
    """z = the floating point number next to x in the direction of y.

    dL/dx = dL/dz where z is not x, dL/dy = 0.
    """

    exact = True  # the next number of 16 bits, not of 32

    @staticmethod
    def forward(ctx, x, y):
        floats("nextafter_cpu", x, y)
        ctx.save_for_backward(x, y)
        return ctx.xp.nextafter(x, y)

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return ctx.xp.where(x == y, 0.0, grad), ctx.xp.zeros_like(grad)


class Heaviside(Pairwise):
    """z = 0 for x < 0, y for x = 0, 1 for x > 0;  there is no gradient."""

    @staticmethod
    def forward(ctx, x, y):
        xp = ctx.xp
        return xp.where(x == 0, y, (x > 0).astype(x.dtype))

    @staticmethod
    def backward(ctx, grad):
        raise NotImplementedError(
            "derivative for heaviside is not implemented: it is 0 almost everywhere;"
            " detach() the input if that is meant"
        )


class Logaddexp(Pairwise):
    """z = log(e^x + e^y),  dL/dx = dL/dz / (1 + e^(y - x)),  dL/dy = dL/dz / (1 + e^(x - y))."""

    @staticmethod
    def forward(ctx, x, y):
        floats("logaddexp_cpu", x, y)
        ctx.save_for_backward(x, y)
        return ctx.xp.logaddexp(x, y)

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad / (1 + ctx.xp.exp(y - x)), grad / (1 + ctx.xp.exp(x - y))


class Logaddexp2(Pairwise):
    """z = log2(2^x + 2^y),  dL/dx = dL/dz / (1 + 2^(y - x)),  dL/dy = dL/dz / (1 + 2^(x - y))."""

    @staticmethod
    def forward(ctx, x, y):
        floats("logaddexp2_cpu", x, y)
        ctx.save_for_backward(x, y)
        return ctx.xp.logaddexp2(x, y)

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad / (1 + ctx.xp.exp2(y - x)), grad / (1 + ctx.xp.exp2(x - y))


class Xlogy(Pairwise):
    """z = x log y, 0 for x = 0;  dL/dx = dL/dz log y,  dL/dy = dL/dz x / y."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x, y):
        xp = ctx.xp
        ctx.save_for_backward(x, y)
        return xp.where(xp.logical_and(xp.equal(x, 0), xp.equal(y, y)), 0.0, x * _logarithm(xp.log, y))

    @staticmethod
    def backward(ctx, grad):
        xp = ctx.xp
        x, y = ctx.saved_tensors
        need_x, need_y = ctx.needs_input_grad
        grad_x = None
        if need_x:
            if hasattr(y, "dtype"):
                idle = (x == 0) & (y <= 0)
                grad_x = xp.where(idle, 0.0, grad * xp.log(xp.where(idle, 1.0, y)))
            else:
                grad_x = grad * math.log(y) if y > 0 else xp.where(x == 0, 0.0, grad * _log_of(y))
        return grad_x, grad * x / y if need_y else None


def _logarithm(log: Any, y: Any) -> Any:
    """Return the logarithm of an array, or of a number as a float, which leaves the dtype to arrays."""
    return log(y) if hasattr(y, "dtype") else float(log(y))


def _log_of(y: float) -> float:
    """Return the logarithm of a number that is not positive: -inf for 0, NaN below."""
    return -math.inf if y == 0 else math.nan


class Xlog1py(Pairwise):
    """z = x log(1 + y), 0 for x = 0;  dL/dx = dL/dz log(1 + y),  dL/dy = dL/dz x / (1 + y)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x, y):
        xp = ctx.xp
        ctx.save_for_backward(x, y)
        return xp.where(xp.logical_and(xp.equal(x, 0), xp.equal(y, y)), 0.0, x * _logarithm(xp.log1p, y))

    @staticmethod
    def backward(ctx, grad):
        xp = ctx.xp
        x, y = ctx.saved_tensors
        need_x, need_y = ctx.needs_input_grad
        grad_x = None
        if need_x:
            if hasattr(y, "dtype"):
                idle = (x == 0) & (y <= -1)
                grad_x = xp.where(idle, 0.0, grad * xp.log1p(xp.where(idle, 0.0, y)))
            else:
                grad_x = grad * math.log1p(y) if y > -1 else xp.where(x == 0, 0.0, grad * _log_of(y + 1))
        return grad_x, grad * x / (y + 1) if need_y else None


@op(primitive=Hypot, reference=np.hypot, samples=TWO, errors=[UNEQUAL, WHOLE], inplace=True)
def hypot(input: Tensor, other: Tensor) -> Tensor:
    """Return ``sqrt(input² + other²)``, element by element, without overflow on the way.

    Shapes broadcast; NotImplementedError for integers.

    >>> import accelgrad
    >>> accelgrad.hypot(accelgrad.tensor([3.0]), accelgrad.tensor([4.0]))
    tensor([5.])
    """
    return Hypot.apply(input, other)


@op(
    primitive=Atan2,
    reference=as_float32(np.arctan2),
    samples=[*TWO, sample(arg(3, dtype="int64", low=1), arg(3, dtype="int64", low=1))],
    inplace=True,
    aliases=("arctan2",),
)
def atan2(input: Tensor, other: Tensor) -> Tensor:
    """Return the angle in (-pi, pi] of the point whose y is ``input`` and whose x is ``other``.

    Shapes broadcast; integers become floats.

    >>> import accelgrad
    >>> accelgrad.atan2(accelgrad.tensor([1.0, -1.0]), accelgrad.tensor([1.0, -1.0]))
    tensor([ 0.7854, -2.3562])
    """
    return Atan2.apply(input, other)


@op(
    primitive=Copysign,
    reference=as_float32(np.copysign),
    samples=[*TWO[:3], sample(arg(3), -1.0), sample(arg(3, dtype="int64"), -1)],
    inplace=True,
)
def copysign(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return the absolute value of ``input`` with the sign of ``other``; -0 counts as negative.

    Shapes broadcast; integers become floats.

    >>> import accelgrad
    >>> accelgrad.copysign(accelgrad.tensor([1.0, -2.0]), -1)
    tensor([-1., -2.])
    """
    return Copysign.apply(input, other)


@op(
    primitive=Nextafter,
    reference=np.nextafter,
    samples=[sample(arg(2, 3), arg(3)), sample(arg(), arg())],
    differentiable=False,
    inplace=True,
)
def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """Return the floating point number next to ``input`` in the direction of ``other``.

    Shapes broadcast; NotImplementedError for integers.

    >>> import accelgrad
    >>> one = accelgrad.tensor([1.0])
    >>> accelgrad.nextafter(one, one * 2) - one
    tensor([1.1921e-07])
    """
    return Nextafter.apply(input, other)


@op(
    primitive=Heaviside,
    reference=np.heaviside,
    samples=[sample(arg(values=[-1.0, 0.0, 2.0]), arg(3)), sample(arg(2, 3), arg())],
    differentiable=False,
    inplace=True,
)
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """Return 0 where ``input`` is negative, 1 where it is positive, and ``values`` where it is 0.

    Shapes broadcast.  RuntimeError if the dtypes differ, NotImplementedError for a backward pass.

    >>> import accelgrad
    >>> accelgrad.heaviside(accelgrad.tensor([-1.0, 0.0, 2.0]), accelgrad.tensor(0.5))
    tensor([0.0000, 0.5000, 1.0000])
    """
    if isinstance(values, Tensor) and values.dtype is not input.dtype:
        raise RuntimeError(
            "heaviside is not yet implemented for tensors with different dtypes:"
            f" {input.dtype} and {values.dtype}"
        )
    return Heaviside.apply(input, values)


@op(primitive=Logaddexp, reference=np.logaddexp, samples=TWO, errors=[WHOLE])
def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """Return ``log(e^input + e^other)``, element by element, without overflow on the way.

    Shapes broadcast; NotImplementedError for integers.

    >>> import accelgrad
    >>> accelgrad.logaddexp(accelgrad.tensor([0.0, 100.0]), accelgrad.tensor([0.0, 1.0]))
    tensor([  0.6931, 100.0000])
    """
    return Logaddexp.apply(input, other)


@op(primitive=Logaddexp2, reference=np.logaddexp2, samples=TWO, errors=[WHOLE])
def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """Return ``log2(2^input + 2^other)``, element by element, without overflow on the way.

    Shapes broadcast; NotImplementedError for integers.

    >>> import accelgrad
    >>> accelgrad.logaddexp2(accelgrad.tensor([0.0, 100.0]), accelgrad.tensor([0.0, 1.0]))
    tensor([  1., 100.])
    """
    return Logaddexp2.apply(input, other)


LOGARITHMIC = [
    sample(arg(2, 3), arg(3, low=0.2)),
    sample(arg(), arg(2, low=0.2)),
    sample(arg(2, 3), 1.5),
    sample(2.0, arg(3, low=0.2)),
    sample(arg(values=[0.0, 0.0], requires_grad=False), arg(values=[0.0, 1.0], requires_grad=False)),
    sample(arg(3, dtype="int64", low=1), arg(3, dtype="int64", low=1)),
]


def _times_log(log: Any) -> Any:
    """Make the NumPy reference ``x log(y)`` that is 0 where x is 0."""
    return as_float32(lambda x, y: np.where((x == 0) & (y == y), 0.0, x * log(y)))


@op(
    primitive=Xlogy,
    reference=_times_log(np.log),
    samples=LOGARITHMIC,
    inplace=True,
    also=("xlogy_", "special.xlogy"),
)
def xlogy(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Return ``input * log(other)``, and 0 where ``input`` is 0 (unless ``other`` is NaN).

    Shapes broadcast; integers become floats.

    >>> import accelgrad
    >>> accelgrad.xlogy(accelgrad.tensor([0.0, 2.0]), accelgrad.tensor([0.0, 1.0]))
    tensor([0., 0.])
    """
    return Xlogy.apply(input, other)


@op(primitive=Xlog1py, reference=_times_log(np.log1p), samples=LOGARITHMIC, namespace="special", method=False)
def xlog1py(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Return ``input * log(1 + other)``, and 0 where ``input`` is 0 (unless ``other`` is NaN).

    Shapes broadcast; integers become floats.

    >>> import accelgrad
    >>> accelgrad.special.xlog1py(accelgrad.tensor([0.0, 2.0]), accelgrad.tensor([-1.0, 0.0]))
    tensor([0., 0.])
    """
    return Xlog1py.apply(input, other)


# --- combined from others


@op(
    primitive=Mul,
    reference=lambda x, y: np.ldexp(1.0, 0) * x * 2.0**y,
    samples=[sample(arg(2, 3), arg(3)), sample(arg(3), arg(3, dtype="int64", low=0, high=4))],
    inplace=True,
    also=("ldexp_",),
)
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """Return ``input * 2 ** other``, element by element; shapes broadcast and integers become floats.

    >>> import accelgrad
    >>> accelgrad.ldexp(accelgrad.tensor([1.0, 3.0]), accelgrad.tensor([3, -1]))
    tensor([8.0000, 1.5000])
    """
    power = Pow.apply(2.0, other)
    if input.is_floating_point() and not other.is_floating_point():
        power = power.to(input.dtype)
    return Mul.apply(input, power)


@op(
    primitive=Pow,
    reference=lambda x, y: np.float_power(x, y),
    samples=[sample(arg(2, 3, low=0.2), arg(3)), sample(arg(3, dtype="int64", low=1), -2), sample(2, arg(3))],
)
def float_power(input: Tensor | Number, exponent: Tensor | Number) -> Tensor:
    """Return ``input ** exponent``, computed in float64 whatever the dtypes; shapes broadcast.

    >>> import accelgrad
    >>> accelgrad.float_power(accelgrad.tensor([2, 4]), -1)
    tensor([0.5000, 0.2500], dtype=accelgrad.float64)
    """
    double = [one.to(dtypes.float64) if isinstance(one, Tensor) else float(one) for one in (input, exponent)]
    return Pow.apply(*double)


@op(
    samples=[sample(arg(3, values=[1.0, 2.0, 0.5], dtype="float64"), 3.0)],
    errors=[
        (
            sample(arg(2, dtype="float32"), 2),
            RuntimeError,
            "the base given to float_power_ has dtype Float but the operation's result requires dtype Double",
        )
    ],
    differentiable=False,
    torch="Tensor.float_power_",
)
def float_power_(input: Tensor, exponent: Any) -> Tensor:
    """Compute :func:`accelgrad.float_power` in place; RuntimeError unless the tensor is float64.

    >>> import accelgrad
    >>> accelgrad.tensor([2.0], dtype=accelgrad.float64).float_power_(3)
    tensor([8.], dtype=accelgrad.float64)
    """
    if input.array.dtype != "float64":
        raise RuntimeError(
            f"the base given to float_power_ has dtype {title(input.array)}"
            " but the operation's result requires dtype Double"
        )
    since = graph.now()
    return assign(input, float_power(input, exponent), since)


THREE = [
    sample(arg(2, 3), arg(2, 3), arg(2, 3, low=0.5)),
    sample(arg(2, 3), arg(2, 1), arg(3, low=0.5), value=0.5),
    sample(arg(), arg(), arg(low=0.5), value=-2),
]


@op(primitive=Add, reference=lambda x, y, z, value=1: x + value * y * z, samples=THREE, inplace=True)
@one_step()
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """Return ``input + value * tensor1 * tensor2``, element by element; shapes broadcast.

    >>> import accelgrad
    >>> accelgrad.addcmul(accelgrad.ones(2), accelgrad.ones(2), accelgrad.tensor([1.0, 2.0]), value=10)
    tensor([11., 21.])
    """
    product = tensor1 * tensor2 if value == 1 else tensor1 * value * tensor2
    return Add.apply(input, product)


@op(
    primitive=Add,
    reference=lambda x, y, z, value=1: x + value * y / z,
    samples=THREE,
    errors=[
        (
            sample(arg(2), arg(2, dtype="int64"), arg(2, dtype="int64")),
            RuntimeError,
            "Integer division with addcdiv is no longer supported",
        )
    ],
    inplace=True,
)
@one_step()
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """Return ``input + value * tensor1 / tensor2``, element by element; shapes broadcast.

    RuntimeError if ``tensor1`` and ``tensor2`` are both integers.

    >>> import accelgrad
    >>> accelgrad.addcdiv(accelgrad.ones(2), accelgrad.ones(2), accelgrad.tensor([1.0, 2.0]), value=10)
    tensor([11.,  6.])
    """
    if not tensor1.is_floating_point() and not tensor2.is_floating_point():
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported:"
            " convert one of tensor1 and tensor2 with .float()"
        )
    quotient = tensor1 / tensor2 if value == 1 else tensor1 * value / tensor2
    return Add.apply(input, quotient)


@op(
    primitive=Add,
    reference=lambda x, y, weight: x + weight * (y - x),
    samples=[
        sample(arg(2, 3), arg(2, 3), 0.25),
        sample(arg(2, 3), arg(3), 0.75),
        sample(arg(2, 3), arg(2, 3), arg(3, low=0, high=1)),
        sample(arg(), arg(), arg()),
    ],
    errors=[(sample(arg(2), arg(2, dtype="int64"), 0.5), RuntimeError, "expected dtype float32 for `end`")],
    inplace=True,
)
@one_step()
def lerp(input: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    """Return ``input + weight * (end - input)``, a point between ``input`` and ``end``.

    Shapes broadcast.  RuntimeError if the dtypes differ.

    >>> import accelgrad
    >>> accelgrad.lerp(accelgrad.tensor([0.0, 10.0]), accelgrad.tensor([10.0, 20.0]), 0.5)
    tensor([ 5., 15.])
    """
    for name, one in (("end", end), ("weight", weight)):
        if isinstance(one, Tensor) and one.dtype is not input.dtype:
            raise RuntimeError(
                f"expected dtype {input.dtype.name} for `{name}` but got dtype {one.dtype.name}"
            )
    distance = Sub.apply(end, input)
    if not isinstance(weight, Tensor) and weight >= 0.5:
        # Computed from the nearer end, the result is exact for weight = 1.
        return Sub.apply(end, Mul.apply(distance, 1 - weight))
    return Add.apply(input, Mul.apply(distance, weight))
