"""Special functions, element by element: erf, lgamma, digamma, polygamma, logit, entr, the normal tails."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, method
from accelgrad.kernels import plain, special
from accelgrad.ops.pointwise.arithmetic import Pairwise
from accelgrad.ops.pointwise.elementwise import as_float32, unary
from accelgrad.ops.pointwise.hurwitz import cotangent_derivative, hurwitz
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import must_be_floating


def _plain(formula: Any) -> Any:
    """Make a formula over an array module the NumPy reference: there is no other one without SciPy."""
    return as_float32(lambda x: formula(np, np.asarray(x)))


def _each(function: Any) -> Any:
    """Make a function of :mod:`math` a NumPy reference that takes every element."""
    return as_float32(lambda x: np.vectorize(function, otypes=[x.dtype])(x) if x.size else x)


class Erf(Primitive):
    """y = 2/√π times the integral of e^(-t²) from 0 to x,  dL/dx = dL/dy 2/√π e^(-x²)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.erf(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (2 / math.sqrt(math.pi) * ctx.xp.exp(-x * x))


class Erfc(Primitive):
    """y = 1 - erf x,  dL/dx = -dL/dy 2/√π e^(-x²)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.erfc(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (-2 / math.sqrt(math.pi) * ctx.xp.exp(-x * x))


class Erfinv(Primitive):
    """erf y = x,  dL/dx = dL/dy √π/2 e^(y²)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        y = ctx.xp.erfinv(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * (math.sqrt(math.pi) / 2 * ctx.xp.exp(y * y))


class Lgamma(Primitive):
    """y = log |Γ(x)|,  dL/dx = dL/dy ψ(x)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.lgamma(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ctx.xp.run(Digamma, x)


class Digamma(Primitive):
    """y = ψ(x) = Γ'(x) / Γ(x),  dL/dx = dL/dy ψ'(x)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.digamma(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ctx.xp.run(Polygamma, x, n=1)


class Polygamma(Primitive):
    """y = the n-th derivative of ψ at x,  dL/dx = dL/dy times the (n + 1)-th derivative."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x, *, n: int):
        ctx.n = n
        ctx.save_for_backward(x)
        xp = ctx.xp
        wide = x.astype("float64")
        # ψ⁽ⁿ⁾(x) = (-1)^(n + 1) n! ζ(n + 1, x) for x > 0: Abramowitz & Stegun 6.4.10
        reflected = wide < 0.5
        y = (-1) ** (n + 1) * math.factorial(n) * hurwitz(xp, n + 1, xp.where(reflected, 1 - wide, wide))
        # ψ⁽ⁿ⁾(x) = (-1)^n ψ⁽ⁿ⁾(1 - x) - the n-th derivative of π cot(πx): Abramowitz & Stegun 6.4.7
        angle = xp.where(reflected, wide - xp.rint(wide), 0.25)
        cotangent = 1 / xp.tan(math.pi * angle)
        y = xp.where(reflected, (-1) ** n * y - cotangent_derivative(n, cotangent), y)
        return y.astype(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ctx.xp.run(Polygamma, x, n=ctx.n + 1)


class Logit(Primitive):
    """y = log(x / (1 - x)),  dL/dx = dL/dy / (x (1 - x));  with eps, x is held within [eps, 1 - eps]."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x, *, eps: float | None):
        ctx.eps = eps
        ctx.save_for_backward(x)
        z = x if eps is None else ctx.xp.minimum(ctx.xp.maximum(x, eps), 1 - eps)
        return ctx.xp.log(z / (1 - z))

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        slope = grad / (x * (1 - x))
        if ctx.eps is None:
            return slope
        return ctx.xp.where((x >= ctx.eps) & (x <= 1 - ctx.eps), slope, 0.0)


class Sinc(Primitive):
    """y = sin(πx) / (πx), 1 at 0,  dL/dx = dL/dy (cos(πx) - y) / x, 0 at 0."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        xp = ctx.xp
        ctx.save_for_backward(x)
        angle = math.pi * xp.where(x == 0, 1, x)
        return xp.where(x == 0, 1, xp.sin(angle) / angle).astype(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        xp = ctx.xp
        (x,) = ctx.saved_tensors
        zero = x == 0
        safe = xp.where(zero, 1.0, x)
        angle = safe * math.pi
        return xp.where(zero, 0.0, grad * ((xp.cos(angle) - xp.sin(angle) / angle) / safe))


class Entr(Primitive):
    """y = -x log x, 0 at 0, -inf below,  dL/dx = -dL/dy (log x + 1)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        xp = ctx.xp
        ctx.save_for_backward(x)
        y = xp.where(x > 0, -x * xp.log(xp.where(x > 0, x, 1)), 0.0)
        return xp.where(x >= 0, y, xp.where(x == x, -xp.inf, x)).astype(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return -grad * (ctx.xp.log(x) + 1)


class Zeta(Pairwise):
    """z = ζ(x, y), Hurwitz' zeta function, without a gradient."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x, y):
        xp = ctx.xp
        wide = xp.where(y > 0, y, 1).astype("float64")
        s = xp.where(x > 1, x, 2).astype("float64")
        z = hurwitz(xp, s, wide)
        z = xp.where(xp.equal(x, 1) | ((y <= 0) & (y == xp.floor(y))), xp.inf, z)
        return xp.where((x < 1) | ((y < 0) & (y != xp.floor(y))), xp.nan, z).astype(_kind(x, y))


def _kind(x: Any, y: Any) -> Any:
    """Return the dtype of the operand that is an array."""
    return x.dtype if hasattr(x, "dtype") else y.dtype


@op(primitive=Erf, reference=_each(math.erf), samples=unary(), inplace=True, also=("erf_", "special.erf"))
def erf(input: Tensor) -> Tensor:
    """Return the error function of every element x.

    It is ``2 / sqrt(pi)`` times the integral of ``exp(-t²)`` from 0 to x.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.erf(accelgrad.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8427])
    """
    return Erf.apply(input)


@op(
    primitive=Erfc,
    reference=_each(math.erfc),
    samples=unary(-2, 5),
    inplace=True,
    also=("erfc_", "special.erfc"),
)
def erfc(input: Tensor) -> Tensor:
    """Return ``1 - erf(x)`` for every element x, without cancellation for large x.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.erfc(accelgrad.tensor([0.0, 1.0]))
    tensor([1.0000, 0.1573])
    """
    return Erfc.apply(input)


@op(
    primitive=Erfinv,
    reference=_plain(plain.erfinv),
    samples=unary(-0.9, 0.9),
    inplace=True,
    also=("special.erfinv",),
)
def erfinv(input: Tensor) -> Tensor:
    """Return the inverse of erf for every element: infinite at -1 and 1, NaN outside.

    Integers become floats.

    >>> import accelgrad
    >>> accelgrad.erfinv(accelgrad.tensor([0.0, 0.5]))
    tensor([0.0000, 0.4769])
    """
    return Erfinv.apply(input)


@op(
    primitive=Lgamma,
    reference=_each(math.lgamma),
    samples=unary(0.1, 5),
    inplace=True,
    also=("special.gammaln",),
)
def lgamma(input: Tensor) -> Tensor:
    """Return the logarithm of the absolute value of the gamma function, for every element.

    Integers become floats.

    >>> import accelgrad
    >>> accelgrad.lgamma(accelgrad.tensor([0.5, 1.0, 5.0]))
    tensor([0.5724, 0.0000, 3.1781])
    """
    return Lgamma.apply(input)


@op(
    primitive=Digamma,
    reference=_plain(special.digamma),
    samples=unary(0.5, 5),
    inplace=True,
    also=("special.psi", "special.digamma"),
)
def digamma(input: Tensor) -> Tensor:
    """Return the logarithmic derivative of the gamma function, Γ'(x) / Γ(x), for every element x.

    Integers become floats.

    >>> import accelgrad
    >>> accelgrad.digamma(accelgrad.tensor([1.0, 0.5]))
    tensor([-0.5772, -1.9635])
    """
    return Digamma.apply(input)


@op(
    primitive=Polygamma,
    samples=[
        sample(1, arg(3, low=0.5, high=4)),
        sample(2, arg(2, 2, low=0.5)),
        sample(1, arg(values=[-0.4, -1.7])),
        sample(0, arg(2, low=0.5)),
        sample(3, arg(low=1)),
    ],
    errors=[(sample(-1, arg(2)), RuntimeError, r"polygamma\(n, x\) does not support negative n")],
    method=False,
    also=("special.polygamma",),
)
def polygamma(n: int, input: Tensor) -> Tensor:
    """Return the n-th derivative of the digamma function for every element; RuntimeError for a negative n.

    >>> import accelgrad
    >>> accelgrad.polygamma(1, accelgrad.tensor([1.0, 0.5]))
    tensor([1.6449, 4.9348])
    """
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    return Digamma.apply(input) if n == 0 else Polygamma.apply(input, n=n)


@method("polygamma")
def _polygamma(self: Tensor, n: int) -> Tensor:
    """Return the n-th derivative of digamma: :func:`accelgrad.polygamma` with its operands exchanged.

    >>> import accelgrad
    >>> accelgrad.tensor([1.0]).polygamma(1)
    tensor([1.6449])
    """
    return polygamma(n, self)


@op(
    primitive=Lgamma,
    samples=[sample(arg(3, low=1.5, high=4), 3), sample(arg(2, 2, low=1), 1)],
    errors=[(sample(arg(2, low=0.1, high=0.2), 3), RuntimeError, "All elements must be greater than")],
    inplace=True,
    also=("special.multigammaln",),
)
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """Compute the logarithm of the multivariate gamma function of dimension ``p``, for every element.

    It is p (p - 1) / 4 log pi + the sum of lgamma(x - i/2) over i = 0 ... p - 1.  RuntimeError if an element
    is not greater than ``(p - 1) / 2``.

    >>> import accelgrad
    >>> accelgrad.mvlgamma(accelgrad.tensor([2.0]), 2)
    tensor([0.4516])
    """
    if input.array.size and not bool(input.xp.all(input.array > (p - 1) / 2)):
        raise RuntimeError(f"All elements must be greater than (p-1)/2 = {(p - 1) / 2}")
    total = input * 0 + p * (p - 1) / 4 * math.log(math.pi)
    for i in range(p):
        total = total + lgamma(input - i / 2)
    return total


@op(
    primitive=Logit,
    reference=as_float32(
        lambda x, eps=None: np.log((z := x if eps is None else np.clip(x, eps, 1 - eps)) / (1 - z))
    ),
    samples=[*unary(0.1, 0.9, integers=False), sample(arg(values=[0.05, 0.3, 0.99]), 0.1)],
    inplace=True,
    also=("logit_", "special.logit"),
)
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """Return ``log(x / (1 - x))`` for every element x, the inverse of sigmoid; NaN outside of [0, 1].

    With ``eps`` the elements are first limited to [eps, 1 - eps].  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.logit(accelgrad.tensor([0.5, 0.9]))
    tensor([0.0000, 2.1972])
    """
    return Logit.apply(input, eps=eps)


@op(
    primitive=Sinc,
    reference=as_float32(np.sinc),
    samples=unary(),
    inplace=True,
    also=("sinc_", "special.sinc"),
)
def sinc(input: Tensor) -> Tensor:
    """Return ``sin(pi x) / (pi x)`` for every element x, and 1 at 0.  Integers become floats.

    >>> import accelgrad
    >>> accelgrad.sinc(accelgrad.tensor([0.0, 0.5]))
    tensor([1.0000, 0.6366])
    """
    return Sinc.apply(input)


@op(
    primitive=Entr,
    reference=as_float32(
        lambda x: np.where(x > 0, -x * np.log(np.where(x > 0, x, 1)), np.where(x == 0, 0.0, -np.inf))
    ),
    samples=[*unary(0.1), sample(arg(values=[0.0, -1.0], requires_grad=False))],
    namespace="special",
    method=False,
)
def entr(input: Tensor) -> Tensor:
    """Return ``-x log x`` for every element x, its share in an entropy: 0 at 0, -inf below.

    >>> import accelgrad
    >>> accelgrad.special.entr(accelgrad.tensor([0.0, 0.5]))
    tensor([0.0000, 0.3466])
    """
    return Entr.apply(input)


@op(
    primitive=Erfc,
    reference=_each(lambda x: math.erfc(-x / math.sqrt(2)) / 2),
    samples=unary(-3, 3),
    namespace="special",
    method=False,
)
def ndtr(input: Tensor) -> Tensor:
    """Return the probability that a standard normal number is less than x, for every element x.

    >>> import accelgrad
    >>> accelgrad.special.ndtr(accelgrad.tensor([0.0, 1.0]))
    tensor([0.5000, 0.8413])
    """
    return erfc(input * -math.sqrt(0.5)) * 0.5


@op(primitive=Erfinv, samples=unary(0.1, 0.9, integers=False), namespace="special", method=False)
def ndtri(input: Tensor) -> Tensor:
    """Return the inverse of :func:`ndtr` for every element: infinite at 0 and 1, NaN outside.

    >>> import accelgrad
    >>> accelgrad.special.ndtri(accelgrad.tensor([0.5, 0.975]))
    tensor([0.0000, 1.9600])
    """
    return erfinv(input * 2.0 - 1.0) * math.sqrt(2)


@op(
    primitive=Zeta,
    samples=[
        sample(arg(3, low=2, high=5), arg(3, low=0.5, high=3)),
        sample(arg(values=[1.0, 0.5]), arg(values=[2.0, 2.0])),
    ],
    differentiable=False,
    namespace="special",
    method=False,
)
def zeta(input: Tensor, other: Tensor) -> Tensor:
    """Return Hurwitz' zeta function, the sum over k >= 0 of ``(other + k) ** -input``, without a gradient.

    >>> import accelgrad
    >>> accelgrad.special.zeta(accelgrad.tensor([2.0]), accelgrad.tensor([1.0]))
    tensor([1.6449])
    """
    return Zeta.apply(input, other)


# --- the normal distribution far out, without underflow or cancellation

FAR = 3.0
"""From here on the continued fraction needs no more than :data:`TERMS` terms."""

TERMS = 60


def _fraction(x: Any) -> Any:
    """Return x + 1 / (x + 2 / (x + 3 / (x + ...))), the reciprocal of Mills' ratio.

    Abramowitz & Stegun 26.2.14.
    """
    result = x
    for k in range(TERMS, 0, -1):
        result = x + k / result
    return result


class LogNdtr(Primitive):
    """y = log Φ(x),  dL/dx = dL/dy e^(-x²/2 - y) / √(2π)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        xp = ctx.xp
        must_be_floating(x, "log_ndtr")
        far = xp.maximum(-x, FAR)
        tail = -0.5 * far * far - 0.5 * math.log(2 * math.pi) - xp.log(_fraction(far))
        near = xp.maximum(x, -FAR)
        low = xp.log(xp.erfc(-near / math.sqrt(2)) / 2)
        high = xp.log1p(-xp.erfc(xp.maximum(x, 0) / math.sqrt(2)) / 2)
        y = xp.where(x < -FAR, tail, xp.where(x < 0, low, high)).astype(x.dtype)
        y = xp.where(x != x, x, y)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad * ctx.xp.exp(-0.5 * x * x - y) / math.sqrt(2 * math.pi)


class Erfcx(Primitive):
    """y = e^(x²) erfc(x),  dL/dx = dL/dy (2 x y - 2 / √π)."""

    promotion = "float"

    @staticmethod
    def forward(ctx, x):
        xp = ctx.xp
        must_be_floating(x, "erfcx")
        far = xp.maximum(x, FAR)
        tail = math.sqrt(2 / math.pi) / _fraction(far * math.sqrt(2))
        near = xp.minimum(x, FAR)
        y = xp.where(x > FAR, tail, xp.exp(near * near) * xp.erfc(near)).astype(x.dtype)
        y = xp.where(x != x, x, y)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad * (2 * x * y - 2 / math.sqrt(math.pi))


_erfc = np.vectorize(math.erfc, otypes=["float64"])

PLACES = [sample(arg(2, 3)), sample(arg(4, values=[-20.0, -3.5, 2.5, 9.0])), sample(arg()), sample(arg(0, 2))]


@op(
    primitive=LogNdtr,
    reference=lambda x: np.log(_erfc(-x / math.sqrt(2)) / 2).astype(x.dtype) if x.size else x,
    samples=PLACES,
    namespace="special",
    method=False,
)
def log_ndtr(input: Tensor) -> Tensor:
    """Return ``log Φ(x)`` for every element x: the logarithm of :func:`ndtr`, without underflow.

    >>> import accelgrad
    >>> accelgrad.special.log_ndtr(accelgrad.tensor([-50.0, 0.0]))
    tensor([-1.2548e+03, -6.9315e-01])
    """
    return LogNdtr.apply(input)


@op(
    primitive=Erfcx,
    reference=lambda x: (np.exp(x * x) * _erfc(x)).astype(x.dtype) if x.size else x,
    samples=[sample(arg(2, 3)), sample(arg(3, values=[-2.5, 2.5, 3.5])), sample(arg()), sample(arg(0, 2))],
    namespace="special",
    method=False,
)
def erfcx(input: Tensor) -> Tensor:
    """Return ``e^(x²) erfc(x)`` for every element x: erfc without its fast decay.

    It is about 1 / (x √π) for large x.

    >>> import accelgrad
    >>> accelgrad.special.erfcx(accelgrad.tensor([0.0, 50.0]))
    tensor([1.0000, 0.0113])
    """
    return Erfcx.apply(input)
