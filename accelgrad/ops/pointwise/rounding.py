"""Rounding, signs, limits and tests of single elements: floor, round, sign, clamp, isnan and others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.arrays.dtypes import Number
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.pointwise.arithmetic import Pairwise
from accelgrad.ops.registry import arg, checks, op, sample

STEPS = [
    sample(arg(2, 3, distinct=True)),
    sample(arg(values=0.3)),
    sample(arg(0, 2)),
    sample(arg(3, dtype="int64")),
]


class Step(Primitive):
    """The parent of primitives that are piecewise constant:  dL/dx = 0."""

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.zeros_like(grad)


class Floor(Step):
    """y = the largest integer <= x,  dL/dx = 0."""

    @staticmethod
    def forward(ctx, x):
        return ctx.xp.floor(x) if x.dtype.kind == "f" else ctx.xp.copy(x)


class Ceil(Step):
    """y = the smallest integer >= x,  dL/dx = 0."""

    @staticmethod
    def forward(ctx, x):
        return ctx.xp.ceil(x) if x.dtype.kind == "f" else ctx.xp.copy(x)


class Trunc(Step):
    """y = x without its fraction,  dL/dx = 0."""

    @staticmethod
    def forward(ctx, x):
        return ctx.xp.trunc(x) if x.dtype.kind == "f" else ctx.xp.copy(x)


class Round(Step):
    """y = the nearest integer (of two the even one), or multiple of 10^-decimals,  dL/dx = 0."""

    @staticmethod
    def forward(ctx, x, *, decimals: int):
        if x.dtype.kind != "f":
            return ctx.xp.copy(x)
        if decimals == 0:
            return ctx.xp.rint(x)
        scale = 10.0 ** abs(decimals)
        return ctx.xp.rint(x * scale) / scale if decimals > 0 else ctx.xp.rint(x / scale) * scale


class Sign(Step):
    """y = -1, 0 or 1,  dL/dx = 0."""

    @staticmethod
    def forward(ctx, x):
        return ctx.xp.copy(x) if x.dtype == "bool" else ctx.xp.sign(x)


class Frac(Primitive):
    """y = x - trunc(x),  dL/dx = dL/dy."""

    @staticmethod
    def forward(ctx, x):
        return checks.must_be_floating(x, "frac_cpu") - ctx.xp.trunc(x)

    @staticmethod
    def backward(ctx, grad):
        return grad


@op(
    primitive=Floor,
    reference=np.floor,
    samples=STEPS,
    inplace=True,
    also=("floor_",),
)
def floor(input: Tensor) -> Tensor:
    """Return the largest integer not above each element.

    The gradient is 0; integers stay as they are.

    >>> import accelgrad
    >>> accelgrad.floor(accelgrad.tensor([1.7, -1.2]))
    tensor([ 1., -2.])
    """
    return Floor.apply(input)


@op(
    primitive=Ceil,
    reference=np.ceil,
    samples=STEPS,
    inplace=True,
    also=("ceil_",),
)
def ceil(input: Tensor) -> Tensor:
    """Return the smallest integer not below each element.

    The gradient is 0; integers stay as they are.

    >>> import accelgrad
    >>> accelgrad.ceil(accelgrad.tensor([1.7, -1.2]))
    tensor([ 2., -1.])
    """
    return Ceil.apply(input)


@op(
    primitive=Trunc,
    reference=np.trunc,
    samples=STEPS,
    inplace=True,
    aliases=("fix",),
    also=("fix_", "trunc_"),
)
def trunc(input: Tensor) -> Tensor:
    """Return every element without its fraction, that is rounded towards 0.

    The gradient is 0; integers stay as they are.

    >>> import accelgrad
    >>> accelgrad.trunc(accelgrad.tensor([1.7, -1.2]))
    tensor([ 1., -1.])
    """
    return Trunc.apply(input)


@op(
    primitive=Round,
    reference=lambda x, *, decimals=0: np.round(x, decimals),
    samples=[
        *STEPS,
        sample(arg(values=[0.5, 1.5, 2.5, -0.5], requires_grad=False)),
        sample(arg(3, values=[1.234, 5.678, 9.0]), decimals=1),
        sample(arg(3, values=[123.0, 567.0]), decimals=-2),
    ],
    inplace=True,
    also=("round_", "special.round"),
)
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """Return the integer nearest to each element, and of two equally near ones the even one.

    With ``decimals`` it is the nearest multiple of 10^-decimals.  The gradient is 0; integers stay as they
    are.

    >>> import accelgrad
    >>> accelgrad.round(accelgrad.tensor([0.5, 1.5, -1.7]))
    tensor([ 0.,  2., -2.])
    """
    return Round.apply(input, decimals=decimals)


@op(
    primitive=Frac,
    reference=lambda x: x - np.trunc(x),
    samples=STEPS[:3],
    inplace=True,
    also=("frac_",),
)
def frac(input: Tensor) -> Tensor:
    """Return the fraction of every element, ``x - trunc(x)``, with the sign of x.

    NotImplementedError for integers.

    >>> import accelgrad
    >>> accelgrad.frac(accelgrad.tensor([1.5, -1.25]))
    tensor([ 0.5000, -0.2500])
    """
    return Frac.apply(input)


@op(primitive=Sign, reference=np.sign, samples=STEPS, inplace=True)
def sign(input: Tensor) -> Tensor:
    """Return the sign of every element: -1, 0 or 1.  The gradient is 0.

    >>> import accelgrad
    >>> accelgrad.sign(accelgrad.tensor([1.7, 0.0, -1.2]))
    tensor([ 1.,  0., -1.])
    """
    return Sign.apply(input)


@op(primitive=Sign, reference=np.sign, samples=STEPS, inplace=True)
def sgn(input: Tensor) -> Tensor:
    """Return the sign of every element, as :func:`sign` does: there are no complex tensors here.

    >>> import accelgrad
    >>> accelgrad.sgn(accelgrad.tensor([1.7, 0.0, -1.2]))
    tensor([ 1.,  0., -1.])
    """
    return Sign.apply(input)


# --- limits


class Clamp(Pairwise):
    """y = min(max(x, low), high),  dL/dx = dL/dy where low <= x <= high.

    A limit that is a tensor gets dL/dy where it is the result.
    """

    @staticmethod
    def forward(ctx, x, low, high):
        ctx.save_for_backward(x, low, high)
        xp = ctx.xp
        y = x if low is None else xp.maximum(x, low)
        return y if high is None else xp.minimum(y, high)

    @staticmethod
    def backward(ctx, grad):
        xp = ctx.xp
        x, low, high = ctx.saved_tensors
        _, need_low, need_high = ctx.needs_input_grad
        inside = grad if low is None else xp.where(x >= low, grad, 0.0)
        inside = inside if high is None else xp.where(x <= high, inside, 0.0)
        grad_low = grad_high = None
        if need_low:
            # Where the limits cross, the upper one is the result.
            grad_low = xp.where(x < low, grad, 0.0)
            grad_low = grad_low if high is None else xp.where(low < high, grad_low, 0.0)
        if need_high:
            over = x > high if low is None else (x > high) | (low > high)
            grad_high = xp.where(over, grad, 0.0)
        return inside, grad_low, grad_high


def _clip(x: Any, min: Any = None, max: Any = None) -> Any:
    """Call NumPy's clip with the argument names of PyTorch."""
    return np.clip(x, min, max)


@op(
    primitive=Clamp,
    reference=_clip,
    samples=[
        sample(arg(2, 3, distinct=True), -0.2, 0.3),
        sample(arg(2, 3, distinct=True), min=0.0),
        sample(arg(2, 3, distinct=True), max=0.0),
        sample(arg(2, 3, distinct=True), arg(3, low=-0.2, high=-0.1), arg(2, 1, low=0.2, high=0.3)),
        sample(arg(2, 3, distinct=True), max=arg(3, low=0.2, high=0.22)),
        sample(arg(3, dtype="int64"), 0, 1),
        sample(arg(), -1.0, 1.0),
        sample(arg(0, 2), 0.0),
    ],
    errors=[(sample(arg(2)), RuntimeError, "At least one of 'min' or 'max' must not be None")],
    inplace=True,
    aliases=("clip",),
    also=("clamp_", "clip_"),
)
def clamp(input: Tensor, min: Tensor | Number | None = None, max: Tensor | Number | None = None) -> Tensor:
    """Limit every element to [``min``, ``max``]; each limit is a number, a tensor that broadcasts, or None.

    Where the limits cross, the result is ``max``.  The gradient goes to the element where it lies within the
    limits, ends included, and to the limit elsewhere.  RuntimeError if both limits are None.

    >>> import accelgrad
    >>> accelgrad.clamp(accelgrad.tensor([-1.0, 0.5, 2.0]), 0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    return Clamp.apply(input, min, max)


@op(
    primitive=Clamp,
    reference=_clip,
    samples=[sample(arg(2, 3, distinct=True), 0.0), sample(arg(3, dtype="int64"), 0)],
    inplace=True,
    also=("clamp_min_",),
)
def clamp_min(input: Tensor, min: Tensor | Number) -> Tensor:
    """Return every element, or ``min`` where that is larger.

    >>> import accelgrad
    >>> accelgrad.clamp_min(accelgrad.tensor([-1.0, 2.0]), 0)
    tensor([0., 2.])
    """
    return Clamp.apply(input, min, None)


@op(
    primitive=Clamp,
    reference=lambda x, max: np.minimum(x, max),
    samples=[sample(arg(2, 3, distinct=True), 0.0), sample(arg(3, dtype="int64"), 0)],
    inplace=True,
    also=("clamp_max_",),
)
def clamp_max(input: Tensor, max: Tensor | Number) -> Tensor:
    """Return every element, or ``max`` where that is smaller.

    >>> import accelgrad
    >>> accelgrad.clamp_max(accelgrad.tensor([-1.0, 2.0]), 0)
    tensor([-1.,  0.])
    """
    return Clamp.apply(input, None, max)


class NanToNum(Primitive):
    """y = x with numbers for NaN and the infinities,  dL/dx = dL/dy where x is finite."""

    @staticmethod
    def forward(ctx, x, *, nan: float, posinf: float, neginf: float):
        ctx.save_for_backward(x)
        xp = ctx.xp
        if x.dtype.kind != "f":
            return xp.copy(x)
        y = xp.where(x != x, xp.asarray(nan, dtype=x.dtype), x)
        y = xp.where(x == xp.inf, xp.asarray(posinf, dtype=x.dtype), y)
        return xp.where(x == -xp.inf, xp.asarray(neginf, dtype=x.dtype), y)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return ctx.xp.where(ctx.xp.isfinite(x), grad, 0.0)


@op(
    primitive=NanToNum,
    reference=lambda x, nan=None, posinf=None, neginf=None: np.nan_to_num(
        x, nan=nan or 0.0, posinf=posinf, neginf=neginf
    ),
    samples=[
        sample(arg(2, 3)),
        sample(arg(values=[1.0, float("nan"), float("inf"), float("-inf")], requires_grad=False)),
        sample(
            arg(values=[1.0, float("nan"), float("inf"), float("-inf")], requires_grad=False), 5.0, 7.0, -7.0
        ),
        sample(arg(3, dtype="int64")),
    ],
    inplace=True,
    also=("nan_to_num_",),
)
def nan_to_num(
    input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """Replace NaN by ``nan`` and the infinities by ``posinf`` and ``neginf``.

    By default these are 0 and the largest and smallest finite numbers of the dtype.  The gradient is 0 where
    an element is replaced.

    >>> import accelgrad
    >>> accelgrad.nan_to_num(accelgrad.tensor([1.0, float("nan"), float("inf")]), posinf=9.0)
    tensor([1., 0., 9.])
    """
    limits = dtypes.finfo(input.dtype if input.is_floating_point() else dtypes.float32)
    return NanToNum.apply(
        input,
        nan=0.0 if nan is None else nan,
        posinf=limits.max if posinf is None else posinf,
        neginf=limits.min if neginf is None else neginf,
    )


# --- tests of elements


class Test(Primitive):
    """y = a property of x, as bool: the array module's function of the name ``what``."""

    @staticmethod
    def forward(ctx, x, *, what: str):
        xp = ctx.xp
        if x.dtype.kind == "b" or (x.dtype.kind != "f" and what != "signbit"):
            yes = what in ("isfinite", "isreal")
            return xp.ones_like(x, dtype=bool) if yes else xp.zeros_like(x, dtype=bool)
        return getattr(xp, what)(x)


def _test(reference: Callable[..., Any]) -> Callable[..., Any]:
    """Register a test of elements, with the samples that all of them have."""
    return op(
        primitive=Test,
        reference=reference,
        samples=[
            sample(arg(values=[1.0, -0.0, float("nan"), float("inf"), float("-inf")], requires_grad=False)),
            sample(arg(3, dtype="int64")),
            sample(arg(2, dtype="bool")) if reference is not np.signbit else sample(arg(2, dtype="int32")),
            sample(arg(0, requires_grad=False)),
        ],
        differentiable=False,
    )


@_test(np.isnan)
def isnan(input: Tensor) -> Tensor:
    """Tell for every element whether it is NaN.

    >>> import accelgrad
    >>> accelgrad.isnan(accelgrad.tensor([1.0, float("nan")]))
    tensor([False,  True])
    """
    return Test.apply(input, what="isnan")


@_test(np.isinf)
def isinf(input: Tensor) -> Tensor:
    """Tell for every element whether it is infinite.

    >>> import accelgrad
    >>> accelgrad.isinf(accelgrad.tensor([1.0, float("-inf")]))
    tensor([False,  True])
    """
    return Test.apply(input, what="isinf")


@_test(np.isfinite)
def isfinite(input: Tensor) -> Tensor:
    """Tell for every element whether it is neither infinite nor NaN.

    >>> import accelgrad
    >>> accelgrad.isfinite(accelgrad.tensor([1.0, float("inf"), float("nan")]))
    tensor([ True, False, False])
    """
    return Test.apply(input, what="isfinite")


@_test(np.isposinf)
def isposinf(input: Tensor) -> Tensor:
    """Tell for every element whether it is +inf.

    >>> import accelgrad
    >>> accelgrad.isposinf(accelgrad.tensor([float("inf"), float("-inf")]))
    tensor([ True, False])
    """
    return Test.apply(input, what="isposinf")


@_test(np.isneginf)
def isneginf(input: Tensor) -> Tensor:
    """Tell for every element whether it is -inf.

    >>> import accelgrad
    >>> accelgrad.isneginf(accelgrad.tensor([float("inf"), float("-inf")]))
    tensor([False,  True])
    """
    return Test.apply(input, what="isneginf")


@_test(np.signbit)
def signbit(input: Tensor) -> Tensor:
    """Tell for every element whether its sign bit is set, as in negative numbers and -0.

    >>> import accelgrad
    >>> accelgrad.signbit(accelgrad.tensor([1.0, -0.0, -2.0]))
    tensor([False,  True,  True])
    """
    return Test.apply(input, what="signbit")


@op(
    primitive=Test,
    reference=np.isreal,
    samples=[sample(arg(2, requires_grad=False)), sample(arg(2, dtype="int64"))],
    differentiable=False,
    out=False,
)
def isreal(input: Tensor) -> Tensor:
    """Return True for every element: there are no complex tensors here.

    >>> import accelgrad
    >>> accelgrad.isreal(accelgrad.tensor([1.0]))
    tensor([True])
    """
    return Test.apply(input, what="isreal")
