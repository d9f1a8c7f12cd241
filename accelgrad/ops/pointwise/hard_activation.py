"""Activation functions made of straight pieces: hardtanh, relu6, hardsigmoid, shrinks, threshold."""

from __future__ import annotations

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.pointwise.activation import ANY_SHAPE, FUNCTIONAL, activated
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import must_be_floating


class Hardtanh(Primitive):
    """y = x limited to [low, high],  dL/dx = dL/dy strictly between them."""

    @staticmethod
    def forward(ctx, x, *, low: float, high: float):
        if x.dtype.kind == "b":
            raise NotImplementedError("\"hardtanh\" not implemented for 'Bool': convert with .float() first")
        if x.dtype.kind != "f":
            # Limits that are floats would change the dtype of the result.
            low, high = int(low), int(high)
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high
        return ctx.xp.clip(x, low, high)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return ctx.xp.where((x > ctx.low) & (x < ctx.high), grad, 0.0)


@op(
    primitive=Hardtanh,
    reference=lambda x, low=-1.0, high=1.0: np.clip(x, low, high),
    samples=[*ANY_SHAPE, sample(arg(2, 3), -0.5, 1.5)],
    errors=[(sample(arg(2), 1.0, -1.0), ValueError, "min_val cannot be greater than max_val")],
    **FUNCTIONAL,
    also=("nn.functional.hardtanh_",),
)
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """Return ``min(max(x, min_val), max_val)`` for every element x.

    The gradient passes strictly between the two limits.  ``inplace`` overwrites the input.  ValueError if
    ``min_val`` is greater than ``max_val``.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.hardtanh(accelgrad.tensor([-3.0, 0.5, 3.0]))
    tensor([-1.0000,  0.5000,  1.0000])
    """
    if min_val > max_val:
        raise ValueError(f"min_val cannot be greater than max_val, got {min_val} and {max_val}")
    return activated(Hardtanh, input, inplace, low=min_val, high=max_val)


@op(
    primitive=Hardtanh,
    reference=lambda x: np.clip(x, 0, 6),
    samples=ANY_SHAPE,
    **FUNCTIONAL,
)
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``min(max(x, 0), 6)`` for every element x; ``inplace`` overwrites the input.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.relu6(accelgrad.tensor([-1.0, 3.0, 8.0]))
    tensor([0., 3., 6.])
    """
    return activated(Hardtanh, input, inplace, low=0, high=6)


class Hardsigmoid(Primitive):
    """y = min(max(x + 3, 0), 6) / 6,  dL/dx = dL/dy / 6 where |x| < 3."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(must_be_floating(x, "hardsigmoid"))
        return ctx.xp.clip(x + 3, 0, 6) / 6

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return ctx.xp.where((x > -3) & (x < 3), grad / 6, 0.0)


@op(
    primitive=Hardsigmoid,
    reference=lambda x: np.clip(x + 3, 0, 6) / 6,
    samples=ANY_SHAPE,
    torch="none",  # PyTorch's gradient in float64 multiplies by 1 / 6 rounded to float32
    **FUNCTIONAL,
)
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``min(max(x + 3, 0), 6) / 6`` for every element x: a sigmoid of three straight pieces.

    Howard et al. 2019, section 5.2.  ``inplace`` overwrites the input.  NotImplementedError for integers.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.hardsigmoid(accelgrad.tensor([-4.0, 0.0, 4.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return activated(Hardsigmoid, input, inplace)


class Hardswish(Primitive):
    """y = x min(max(x + 3, 0), 6) / 6."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(must_be_floating(x, "hardswish_cpu"))
        return x * ctx.xp.clip(x + 3, 0, 6) / 6

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        xp = ctx.xp
        return grad * xp.where(x <= -3, 0.0, xp.where(x < 3, x / 3 + 0.5, 1.0))


@op(
    primitive=Hardswish,
    reference=lambda x: x * np.clip(x + 3, 0, 6) / 6,
    samples=ANY_SHAPE,
    **FUNCTIONAL,
)
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``x hardsigmoid(x)`` for every element x.

    Howard et al. 2019, section 5.2.  ``inplace`` overwrites the input.  NotImplementedError for integers.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.hardswish(accelgrad.tensor([-4.0, 3.0]))
    tensor([-0.,  3.])
    """
    return activated(Hardswish, input, inplace)


class Hardshrink(Primitive):
    """y = x where |x| > λ, else 0;  dL/dx = dL/dy where |x| > λ."""

    @staticmethod
    def forward(ctx, x, *, lambd: float):
        ctx.save_for_backward(must_be_floating(x, "hardshrink_cpu"))
        ctx.lambd = lambd
        return ctx.xp.where((x >= -lambd) & (x <= lambd), 0.0, x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return ctx.xp.where((x >= -ctx.lambd) & (x <= ctx.lambd), 0.0, grad)


@op(
    primitive=Hardshrink,
    reference=lambda x, lambd=0.5: np.where(np.abs(x) > lambd, x, 0),
    samples=[*ANY_SHAPE, sample(arg(2, 3), 1.0)],
    also=("nn.functional.hardshrink",),
)
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return x where ``|x| > lambd``, else 0, for every element x.  NotImplementedError for integers.

    >>> import accelgrad
    >>> accelgrad.hardshrink(accelgrad.tensor([-1.0, 0.3]))
    tensor([-1.,  0.])
    """
    return Hardshrink.apply(input, lambd=lambd)


class Softshrink(Primitive):
    """y = x - λ above λ, x + λ below -λ, 0 between;  dL/dx = dL/dy where |x| > λ."""

    @staticmethod
    def forward(ctx, x, *, lambd: float):
        ctx.save_for_backward(must_be_floating(x, "softshrink_cpu"))
        ctx.lambd = lambd
        xp = ctx.xp
        return xp.where(x > lambd, x - lambd, xp.where(x < -lambd, x + lambd, x * 0))  # x * 0: NaN stays NaN

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return ctx.xp.where((x >= -ctx.lambd) & (x <= ctx.lambd), 0.0, grad)


@op(
    primitive=Softshrink,
    reference=lambda x, lambd=0.5: np.sign(x) * np.maximum(np.abs(x) - lambd, 0),
    samples=[*ANY_SHAPE, sample(arg(2, 3), 1.0)],
    errors=[(sample(arg(2), -1.0), RuntimeError, "lambda must be greater or equal to 0")],
    **FUNCTIONAL,
)
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Move every element towards 0 by ``lambd``, and set those to 0 that would pass it.

    RuntimeError for a negative ``lambd``, NotImplementedError for integers.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.softshrink(accelgrad.tensor([-1.0, 0.3, 2.0]))
    tensor([-0.5000,  0.0000,  1.5000])
    """
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd}.")
    return Softshrink.apply(input, lambd=lambd)


class Threshold(Primitive):
    """y = x where x > threshold, else value;  dL/dx = dL/dy where x > threshold."""

    @staticmethod
    def forward(ctx, x, *, threshold: float, value: float):
        ctx.save_for_backward(x)
        ctx.threshold = threshold
        return ctx.xp.where(x > threshold, x, x.dtype.type(value))

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return ctx.xp.where(x > ctx.threshold, grad, 0.0)


@op(
    primitive=Threshold,
    reference=lambda x, threshold, value: np.where(x > threshold, x, value),
    samples=[sample(arg(2, 3), 0.1, 20.0), sample(arg(), 0.0, -1.0), sample(arg(0, 2), 0.0, 1.0)],
    also=("nn.functional.threshold", "nn.functional.threshold_"),
)
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Return x where ``x > threshold``, else ``value``, for every element x.

    ``inplace`` overwrites the input.

    >>> import accelgrad
    >>> accelgrad.threshold(accelgrad.tensor([0.0, 2.0]), 1.0, -5.0)
    tensor([-5.,  2.])
    """
    return activated(Threshold, input, inplace, threshold=threshold, value=value)
