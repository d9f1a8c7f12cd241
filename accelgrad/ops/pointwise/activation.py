"""Activation functions: relu and its variants, gelu, silu, mish, softplus and other smooth ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad import random
from accelgrad.core.inplace import assign
from accelgrad.core.primitive import Primitive
from accelgrad.core.reduced import of_one_type
from accelgrad.core.tensor import Tensor
from accelgrad.ops.creation.convert import clone
from accelgrad.ops.pointwise.gelu import CUBE, ROOT, Gelu, GeluTanh
from accelgrad.ops.pointwise.scale import ScaleBy
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import must_be_floating
from accelgrad.ops.registry.dims import wrap_dim

ANY_SHAPE = [sample(arg(2, 3)), sample(arg()), sample(arg(0, 4)), sample(arg(7, low=-8, high=8))]
FUNCTIONAL: dict[str, Any] = {"namespace": "nn.functional", "method": False}


def activated(primitive: type[Primitive], input: Tensor, inplace: bool, **options: Any) -> Tensor:
    """Apply an activation, and write its result into ``input`` if ``inplace``.

    In place, the primitive gets a copy of the old values, which it can save.
    """
    if inplace:
        return assign(input, primitive.apply(clone(input), **options))
    return primitive.apply(input, **options)


# --- relu and its variants


class Relu(Primitive):
    """y = max(x, 0),  dL/dx = dL/dy where y > 0, else 0."""

    direct = staticmethod(of_one_type)

    @staticmethod
    def forward(ctx, x):
        if x.dtype.kind == "b":
            raise RuntimeError("Boolean inputs not supported for relu: convert with .float() first")
        y = ctx.xp.maximum(x, 0)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return ctx.xp.relu_backward(grad, y)


@op(
    primitive=Relu,
    reference=lambda x, inplace=False: np.maximum(x, 0),
    samples=[*ANY_SHAPE, sample(arg(5, dtype="int64", low=-3, high=3))],
    errors=[(sample(arg(3, dtype="bool")), RuntimeError, "Boolean inputs not supported for relu")],
    inplace=True,
    also=("nn.functional.relu", "nn.functional.relu_", "relu_"),
)
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``max(x, 0)`` for every element x; ``inplace`` overwrites the input.

    The gradient at 0 is 0.  RuntimeError for bools.

    >>> import accelgrad
    >>> accelgrad.relu(accelgrad.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 2.])
    """
    result = Relu.apply(input)
    return assign(input, result) if inplace else result


class LeakyRelu(Primitive):
    """y = x where x > 0, else slope x;  dL/dx = dL/dy, or slope dL/dy."""

    @staticmethod
    def forward(ctx, x, *, slope: float):
        ctx.save_for_backward(must_be_floating(x, "leaky_relu_cpu"))
        ctx.slope = slope
        return ctx.xp.where(x > 0, x, slope * x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return ctx.xp.where(x > 0, grad, ctx.slope * grad)


@op(
    primitive=LeakyRelu,
    reference=lambda x, s=0.01: np.where(x > 0, x, s * x),
    samples=[*ANY_SHAPE, sample(arg(2, 3), 0.2)],
    **FUNCTIONAL,
    also=("nn.functional.leaky_relu_",),
)
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return x where it is positive, else ``negative_slope * x``, for every element x.

    ``inplace`` overwrites the input.  NotImplementedError for integers.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.leaky_relu(accelgrad.tensor([-1.0, 2.0]), 0.5)
    tensor([-0.5000,  2.0000])
    """
    return activated(LeakyRelu, input, inplace, slope=negative_slope)


class PRelu(Primitive):
    """y = x where x > 0, else w x, with one learned w, or one for each channel (dimension 1).

    dL/dx = dL/dy, or w dL/dy;  dL/dw = the sum of x dL/dy where x <= 0.
    """

    @staticmethod
    def forward(ctx, x, weight):
        channels = x.shape[1] if x.ndim > 1 else 1
        if weight.size not in (1, channels) or weight.ndim > 1:
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size."
                f" Found parameter numbers = {weight.size} and channel size = {channels}:"
                f" prelu's weight must have 1 or {channels} elements,"
                f" one per channel of dimension 1 of the input {tuple(x.shape)}"
            )
        ctx.save_for_backward(x, weight)
        return ctx.xp.where(x > 0, x, _beside(ctx.xp, weight, x) * x)

    @staticmethod
    def backward(ctx, grad):
        xp = ctx.xp
        x, weight = ctx.saved_tensors
        need_x, need_weight = ctx.needs_input_grad
        grad_x = xp.where(x > 0, grad, _beside(xp, weight, x) * grad) if need_x else None
        if not need_weight:
            return grad_x, None
        below = xp.where(x > 0, 0.0, x * grad)
        if weight.ndim and weight.shape[0] > 1:
            return grad_x, xp.sum(below, axis=tuple(axis for axis in range(x.ndim) if axis != 1))
        return grad_x, xp.reshape(xp.sum(below), weight.shape)


def _beside(xp: Any, weight: Any, x: Any) -> Any:
    """Return the weights in a shape that broadcasts along dimension 1 of x."""
    if x.ndim > 1:
        return xp.reshape(weight, (-1,) + (1,) * (x.ndim - 2))  # (channels, 1, 1, ...)
    return xp.reshape(weight, (1,) * x.ndim)  # (1,), or () for a 0-d x


@op(
    primitive=PRelu,
    reference=lambda x, w: np.where(x > 0, x, (w.reshape((-1,) + (1,) * max(x.ndim - 2, 0))) * x),
    samples=[
        sample(arg(2, 3), arg(1)),
        sample(arg(2, 3, 2), arg(3)),
        sample(arg(4), arg(1)),
        sample(arg(2, 3, 2, 2), arg(3)),
    ],
    errors=[(sample(arg(2, 3), arg(2)), RuntimeError, "Mismatch of parameter numbers")],
    also=("nn.functional.prelu",),
)
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Return x where it is positive, else ``weight * x``, for every element x.

    ``weight`` has one element, or one for each channel (dimension 1 of the input); RuntimeError for other
    sizes. He et al. 2015, equation 1.

    >>> import accelgrad
    >>> accelgrad.prelu(accelgrad.tensor([-1.0, 2.0]), accelgrad.tensor([0.25]))
    tensor([-0.2500,  2.0000])
    """
    return PRelu.apply(input, weight)


@op(
    reference=lambda x, lower=1 / 8, upper=1 / 3: np.where(x >= 0, x, (lower + upper) / 2 * x),
    samples=[sample(arg(2, 3)), sample(arg(4), 0.1, 0.5)],
    also=("nn.functional.rrelu", "nn.functional.rrelu_"),
)
def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """Return x where it is positive, else ``r x``, with r between ``lower`` and ``upper``.

    In training each element has its own r, drawn from [lower, upper); otherwise r is the mean of the two.  Xu
    et al. 2015.  RuntimeError if ``lower`` is greater than ``upper``.

    >>> import accelgrad
    >>> accelgrad.rrelu(accelgrad.tensor([-1.0, 1.0]), 0.2, 0.4)
    tensor([-0.3000,  1.0000])
    """
    if lower > upper:
        raise RuntimeError(
            f"rrelu: Lower bound should be less than or equal to the upper bound, got {lower} and {upper}"
        )
    if not training:
        return activated(LeakyRelu, input, inplace, slope=(lower + upper) / 2)
    xp = input.xp
    drawn = random.default_generator.numpy.uniform(lower, upper, tuple(input.shape)).astype(input.dtype.name)
    factor = xp.where(input.array > 0, 1, xp.from_host(drawn)).astype(input.array.dtype)
    return activated(ScaleBy, input, inplace, factor=factor)


class Elu(Primitive):
    """y = scale x where x > 0, else scale alpha (e^(rate x) - 1)."""

    @staticmethod
    def forward(ctx, x, *, alpha: float, scale: float = 1.0, rate: float = 1.0):
        ctx.save_for_backward(must_be_floating(x, "elu_cpu"))
        ctx.alpha, ctx.scale, ctx.rate = alpha, scale, rate
        return ctx.xp.where(x > 0, scale * x, (scale * alpha) * ctx.xp.expm1(rate * x))

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        xp = ctx.xp
        # For x > 0 e^x could overflow, and inf times a masked 0 is NaN: x is replaced by 0 there.
        slope = (ctx.scale * ctx.alpha * ctx.rate) * xp.exp(ctx.rate * xp.where(x > 0, 0.0, x))
        return grad * xp.where(x > 0, ctx.scale, slope)


def _elu(x: np.ndarray, alpha: float = 1.0, scale: float = 1.0, rate: float = 1.0) -> np.ndarray:
    """Compute elu, selu and celu with NumPy."""
    return scale * np.where(x > 0, x, alpha * np.expm1(rate * np.minimum(x, 0)))


@op(
    primitive=Elu,
    reference=_elu,
    samples=[*ANY_SHAPE, sample(arg(2, 3), 0.5)],
    **FUNCTIONAL,
    also=("nn.functional.elu_",),
)
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return x where it is positive, else ``alpha (exp(x) - 1)``, for every element x.

    Clevert, Unterthiner & Hochreiter 2016, equation 1.  ``inplace`` overwrites the input.
    NotImplementedError for integers.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.elu(accelgrad.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """
    return activated(Elu, input, inplace, alpha=alpha)


SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@op(
    primitive=Elu,
    reference=lambda x: _elu(x, SELU_ALPHA, SELU_SCALE),
    samples=ANY_SHAPE,
    inplace=True,
    also=("nn.functional.selu", "nn.functional.selu_"),
)
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``scale x`` where x is positive, else ``scale alpha (exp(x) - 1)``, for every element x.

    The constants alpha = 1.67326... and scale = 1.05070... keep mean 0 and variance 1 from layer to layer.
    Klambauer et al. 2017, equation 2.  NotImplementedError for integers.

    >>> import accelgrad
    >>> accelgrad.selu(accelgrad.tensor([-1.0, 1.0]))
    tensor([-1.1113,  1.0507])
    """
    return activated(Elu, input, inplace, alpha=SELU_ALPHA, scale=SELU_SCALE)


@op(
    primitive=Elu,
    reference=lambda x, alpha=1.0: _elu(x, alpha, 1.0, 1 / alpha),
    samples=[*ANY_SHAPE, sample(arg(2, 3), alpha=0.5)],
    errors=[(sample(arg(2), alpha=0.0), RuntimeError, "ZeroDivisionError")],
    inplace=True,
    also=("nn.functional.celu", "nn.functional.celu_"),
)
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return ``max(0, x) + min(0, alpha (exp(x / alpha) - 1))`` for every element x.

    It is an elu whose slope is continuous for every alpha.  Barron 2017.  RuntimeError for alpha = 0,
    NotImplementedError for integers.

    >>> import accelgrad
    >>> accelgrad.celu(accelgrad.tensor([-1.0, 1.0]), alpha=2.0)
    tensor([-0.7869,  1.0000])
    """
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return activated(Elu, input, inplace, alpha=alpha, rate=1 / alpha)


# --- smooth ones


def _gelu(x: np.ndarray, approximate: str = "none") -> np.ndarray:
    """Compute gelu with NumPy."""
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(ROOT * (x + CUBE * x**3)))
    return 0.5 * x * np.vectorize(lambda v: math.erfc(-v / math.sqrt(2)), otypes=[x.dtype])(x)


@op(
    primitive=Gelu,
    reference=_gelu,
    samples=[*ANY_SHAPE, sample(arg(2, 3), approximate="tanh"), sample(arg(), approximate="tanh")],
    errors=[
        (
            sample(arg(2), approximate="sigmoid"),
            RuntimeError,
            "approximate argument must be either none or tanh",
        )
    ],
    **FUNCTIONAL,
)
def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """Return ``x Phi(x)`` for every element x, with the normal distribution function Phi.

    ``approximate="tanh"`` computes Phi approximately by tanh.  Hendrycks & Gimpel 2016.  RuntimeError for
    other values of ``approximate``, NotImplementedError for integers.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.gelu(accelgrad.tensor([-1.0, 1.0]))
    tensor([-0.1587,  0.8413])
    """
    if approximate == "none":
        return Gelu.apply(input)
    if approximate == "tanh":
        return GeluTanh.apply(input)
    raise RuntimeError(f"approximate argument must be either none or tanh, got {approximate!r}")


class Silu(Primitive):
    """y = x s with s = 1 / (1 + e⁻ˣ),  dL/dx = dL/dy s (1 + x (1 - s))."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(must_be_floating(x, "silu_cpu"))
        return ctx.xp.silu(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return ctx.xp.silu_backward(grad, x)


@op(primitive=Silu, reference=lambda x: x / (1 + np.exp(-x)), samples=ANY_SHAPE, **FUNCTIONAL)
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``x sigmoid(x)`` for every element x, also called swish.

    Elfwing, Uchibe & Doya 2018.  ``inplace`` overwrites the input.  NotImplementedError for integers.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.silu(accelgrad.tensor([-1.0, 1.0]))
    tensor([-0.2689,  0.7311])
    """
    return activated(Silu, input, inplace)


def _log1p_exp(xp: Any, x: Any) -> Any:
    """Return log(1 + eˣ), computed without overflow."""
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


class Mish(Primitive):
    """y = x tanh(log(1 + eˣ))."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(must_be_floating(x, "mish_cpu"))
        return x * ctx.xp.tanh(_log1p_exp(ctx.xp, x))

    @staticmethod
    def backward(ctx, grad):
        xp = ctx.xp
        (x,) = ctx.saved_tensors
        s = 1 / (1 + xp.exp(-x))
        t = xp.tanh(_log1p_exp(xp, x))
        return grad * (t + x * s * (1 - t * t))


@op(primitive=Mish, reference=lambda x: x * np.tanh(np.log1p(np.exp(x))), samples=ANY_SHAPE, **FUNCTIONAL)
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``x tanh(softplus(x))`` for every element x.

    Misra 2019, arXiv 1908.08681.  ``inplace`` overwrites the input.  NotImplementedError for integers.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.mish(accelgrad.tensor([-1.0, 1.0]))
    tensor([-0.3034,  0.8651])
    """
    return activated(Mish, input, inplace)


class Softplus(Primitive):
    """y = log(1 + e^(βx)) / β, and x itself where βx > threshold."""

    @staticmethod
    def forward(ctx, x, *, beta: float, threshold: float):
        ctx.save_for_backward(must_be_floating(x, "softplus_cpu"))
        ctx.beta, ctx.threshold = beta, threshold
        scaled = beta * x
        return ctx.xp.where(scaled > threshold, x, _log1p_exp(ctx.xp, scaled) / beta)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        scaled = ctx.beta * x
        return ctx.xp.where(scaled > ctx.threshold, grad, grad / (1 + ctx.xp.exp(-scaled)))


@op(
    primitive=Softplus,
    reference=lambda x, beta=1.0, threshold=20.0: np.where(
        beta * x > threshold, x, np.log1p(np.exp(beta * x)) / beta
    ),
    samples=[*ANY_SHAPE, sample(arg(2, 3), beta=2.0, threshold=1.0), sample(arg(4, low=15, high=25))],
    **FUNCTIONAL,
)
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Return ``log(1 + exp(beta x)) / beta`` for every element x: a smooth relu.

    Where ``beta x > threshold`` it is x itself.  NotImplementedError for integers.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.softplus(accelgrad.tensor([0.0, 100.0]))
    tensor([  0.6931, 100.0000])
    """
    return Softplus.apply(input, beta=beta, threshold=threshold)


class LogSigmoid(Primitive):
    """y = -log(1 + e⁻ˣ),  dL/dx = dL/dy / (1 + eˣ)."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(must_be_floating(x, "log_sigmoid_cpu"))
        return -_log1p_exp(ctx.xp, -x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad / (1 + ctx.xp.exp(x))


@op(
    primitive=LogSigmoid,
    reference=lambda x: -np.log1p(np.exp(-x)),
    samples=[*ANY_SHAPE, sample(arg(3, low=-50, high=50))],
    **FUNCTIONAL,
)
def logsigmoid(input: Tensor) -> Tensor:
    """Return ``log(1 / (1 + exp(-x)))`` for every element x, exact also where sigmoid(x) rounds to 0.

    NotImplementedError for integers.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.logsigmoid(accelgrad.tensor([0.0, -200.0]))
    tensor([  -0.6931, -200.0000])
    """
    return LogSigmoid.apply(input)


class Softsign(Primitive):
    """y = x / (1 + |x|),  dL/dx = dL/dy / (1 + |x|)²."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x / (1 + ctx.xp.abs(x))

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        size = 1 + ctx.xp.abs(x)
        return grad / (size * size)


@op(primitive=Softsign, reference=lambda x: x / (1 + np.abs(x)), samples=ANY_SHAPE, **FUNCTIONAL)
def softsign(input: Tensor) -> Tensor:
    """Return ``x / (1 + |x|)`` for every element x.  Integers become floats.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.softsign(accelgrad.tensor([-1.0, 3.0]))
    tensor([-0.5000,  0.7500])
    """
    return Softsign.apply(input)


class Tanhshrink(Primitive):
    """y = x - tanh x,  dL/dx = dL/dy tanh² x."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x - ctx.xp.tanh(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        t = ctx.xp.tanh(x)
        return grad * (t * t)


@op(primitive=Tanhshrink, reference=lambda x: x - np.tanh(x), samples=ANY_SHAPE, **FUNCTIONAL)
def tanhshrink(input: Tensor) -> Tensor:
    """Return ``x - tanh(x)`` for every element x.  Integers become floats.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.tanhshrink(accelgrad.tensor([0.0, 1.0]))
    tensor([0.0000, 0.2384])
    """
    return Tanhshrink.apply(input)


class Glu(Primitive):
    """y = a / (1 + e⁻ᵇ) for the two halves a, b of x along an axis."""

    @staticmethod
    def forward(ctx, x, *, axis: int):
        if x.shape[axis] % 2:
            raise RuntimeError(
                f"Halving dimension must be even, but dimension {axis} is size {x.shape[axis]}:"
                f" glu takes the input {tuple(x.shape)} in two halves"
            )
        ctx.save_for_backward(must_be_floating(x, "glu"))
        ctx.axis = axis
        a, b = _halves(x, axis)
        return a / (1 + ctx.xp.exp(-b))

    @staticmethod
    def backward(ctx, grad):
        xp = ctx.xp
        (x,) = ctx.saved_tensors
        a, b = _halves(x, ctx.axis)
        s = 1 / (1 + xp.exp(-b))
        return xp.concatenate([grad * s, grad * a * (s * (1 - s))], axis=ctx.axis)


def _halves(x: Any, axis: int) -> tuple[Any, Any]:
    """Return the two halves of x along an axis."""
    half, before = x.shape[axis] // 2, (slice(None),) * axis
    return x[(*before, slice(0, half))], x[(*before, slice(half, 2 * half))]


def _glu(x: np.ndarray, dim: int = -1) -> np.ndarray:
    """Compute glu with NumPy."""
    a, b = np.split(x, 2, axis=dim)
    return a / (1 + np.exp(-b))


@op(
    primitive=Glu,
    reference=_glu,
    samples=[sample(arg(3, 4)), sample(arg(4, 3), 0), sample(arg(2, 6, 3), dim=1)],
    errors=[
        (sample(arg(2, 3)), RuntimeError, "Halving dimension must be even, but dimension 1 is size 3"),
        (sample(arg()), RuntimeError, "glu does not support 0-dimensional tensors"),
    ],
    **FUNCTIONAL,
)
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Return ``a sigmoid(b)`` for the two halves a and b of the input along ``dim``, whose extent is halved.

    Dauphin et al. 2017, equation 1.  RuntimeError if the extent is odd, NotImplementedError for integers.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.glu(accelgrad.tensor([2.0, 4.0, 0.0, 0.0]))
    tensor([1., 2.])
    """
    if input.ndim == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    return Glu.apply(input, axis=wrap_dim(dim, input.ndim))
