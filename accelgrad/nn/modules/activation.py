"""Activation functions as modules: each applies the function of :mod:`accelgrad.nn.functional` that it names.

A base class holds what several activations share: their settings, how these are printed, and ``forward``.
PyTorch keeps ``MultiheadAttention`` here too; it is long and has the file ``attention.py`` to itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn import init
from accelgrad.nn.modules.attention import MultiheadAttention
from accelgrad.nn.modules.module import Module
from accelgrad.nn.parameter import Parameter, empty

__all__ = [
    "CELU", "ELU", "GELU", "GLU", "SELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU",
    "LogSigmoid", "LogSoftmax", "Mish", "MultiheadAttention", "PReLU", "RReLU", "ReLU", "ReLU6", "SiLU",
    "Sigmoid", "Softmax", "Softmax2d", "Softmin", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink",
    "Threshold",
]  # fmt: skip

Function = Callable[..., Tensor]


# --- without settings


class _Plain(Module):
    """An activation without settings."""

    _function: Function

    def forward(self, input: Tensor) -> Tensor:
        """The activation of every element."""
        return self._function(input)


class Sigmoid(_Plain):
    """``1 / (1 + exp(-x))`` of every element: a number between 0 and 1.

    Any shape; the result has the same.  Integers become the default floating point type.

    >>> import accelgrad
    >>> Sigmoid()(accelgrad.tensor([-1.0, 0.0, 1.0]))
    tensor([0.2689, 0.5000, 0.7311])
    """

    _function = staticmethod(F.sigmoid)


class Tanh(_Plain):
    """The hyperbolic tangent ``(exp(x) - exp(-x)) / (exp(x) + exp(-x))`` of every element.

    Any shape; the result has the same.  Integers become the default floating point type.

    >>> import accelgrad
    >>> Tanh()(accelgrad.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.7616,  0.0000,  0.7616])
    """

    _function = staticmethod(F.tanh)


class LogSigmoid(_Plain):
    """``log(1 / (1 + exp(-x)))`` of every element, accurate also where sigmoid(x) rounds to 0.

    Any shape, floating point; the result has the same shape.  NotImplementedError for integers.

    >>> import accelgrad
    >>> LogSigmoid()(accelgrad.tensor([0.0, -200.0]))
    tensor([  -0.6931, -200.0000])
    """

    _function = staticmethod(F.logsigmoid)


class Softsign(_Plain):
    """``x / (1 + |x|)`` of every element.

    Any shape; the result has the same.  Integers become the default floating point type.

    >>> import accelgrad
    >>> Softsign()(accelgrad.tensor([-1.0, 3.0]))
    tensor([-0.5000,  0.7500])
    """

    _function = staticmethod(F.softsign)


class Tanhshrink(_Plain):
    """``x - tanh(x)`` of every element.

    Any shape; the result has the same.  Integers become the default floating point type.

    >>> import accelgrad
    >>> Tanhshrink()(accelgrad.tensor([0.0, 1.0]))
    tensor([0.0000, 0.2384])
    """

    _function = staticmethod(F.tanhshrink)


# --- with the setting ``inplace``


def _shown(module: Any, *settings: str) -> str:
    """The settings as the printed line shows them, with ``inplace=True`` where it is set."""
    return ", ".join([*settings, *(["inplace=True"] if module.inplace else [])])


class _InPlace(Module):
    """An activation whose only setting is whether it overwrites its input."""

    _function: Function

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """The activation of every element."""
        return self._function(input, inplace=self.inplace)

    def extra_repr(self) -> str:
        return _shown(self)


class ReLU(_InPlace):
    """``max(x, 0)`` of every element; the gradient at 0 is 0.

    Any shape and type; the result has the same.  ``inplace`` overwrites the input.

    >>> import accelgrad
    >>> ReLU()(accelgrad.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    _function = staticmethod(F.relu)


class SiLU(_InPlace):
    """``x sigmoid(x)`` of every element, also called swish.  Elfwing, Uchibe & Doya 2018.

    Any shape, floating point; the result has the same shape.  ``inplace`` overwrites the input.
    NotImplementedError for integers.

    >>> import accelgrad
    >>> SiLU()(accelgrad.tensor([-1.0, 2.0]))
    tensor([-0.2689,  1.7616])
    """

    _function = staticmethod(F.silu)


class Mish(_InPlace):
    """``x tanh(softplus(x))`` of every element.  Misra 2019, arXiv 1908.08681.

    Any shape, floating point; the result has the same shape.  ``inplace`` overwrites the input.
    NotImplementedError for integers.

    >>> import accelgrad
    >>> Mish()(accelgrad.tensor([-1.0, 1.0]))
    tensor([-0.3034,  0.8651])
    """

    _function = staticmethod(F.mish)


class SELU(_InPlace):
    """``scale x`` where x is positive, else ``scale alpha (exp(x) - 1)``.  Klambauer et al. 2017.

    The constants alpha = 1.67326... and scale = 1.05070... keep mean 0 and variance 1 from layer to layer.
    Any shape, floating point; the result has the same shape.  ``inplace`` overwrites the input.
    NotImplementedError for integers.

    >>> import accelgrad
    >>> SELU()(accelgrad.tensor([-1.0, 1.0]))
    tensor([-1.1113,  1.0507])
    """

    _function = staticmethod(F.selu)


class Hardsigmoid(_InPlace):
    """``min(max(x + 3, 0), 6) / 6`` of every element: a sigmoid of three straight pieces.

    Howard et al. 2019.  Any shape, floating point; the result has the same shape.  ``inplace`` overwrites the
    input; PyTorch does not print it here.  NotImplementedError for integers.

    >>> import accelgrad
    >>> Hardsigmoid()(accelgrad.tensor([-4.0, 0.0, 4.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """

    _function = staticmethod(F.hardsigmoid)

    def extra_repr(self) -> str:
        return ""


class Hardswish(Hardsigmoid):
    """``x hardsigmoid(x)`` of every element.  Howard et al. 2019, section 5.2.

    Any shape, floating point; the result has the same shape.  ``inplace`` overwrites the input.
    NotImplementedError for integers.

    >>> import accelgrad
    >>> Hardswish()(accelgrad.tensor([-4.0, 3.0]))
    tensor([-0.,  3.])
    """

    _function = staticmethod(F.hardswish)


# --- with bounds, slopes and scales


class Threshold(Module):
    """``x`` where ``x > threshold``, else ``value``.

    Any shape and type; the result has the same.  ``inplace`` overwrites the input.

    >>> import accelgrad
    >>> Threshold(1.0, -5.0)(accelgrad.tensor([0.0, 2.0]))
    tensor([-5.,  2.])
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold, self.value, self.inplace = threshold, value, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        return _shown(self, f"threshold={self.threshold}, value={self.value}")


class Hardtanh(Module):
    """``min(max(x, min_val), max_val)`` of every element; the gradient is 0 outside the bounds.

    Any shape and type; the result has the same.  ``inplace`` overwrites the input.  ValueError unless min_val
    is less than max_val.

    >>> import accelgrad
    >>> Hardtanh()(accelgrad.tensor([-3.0, 0.5, 3.0]))
    tensor([-1.0000,  0.5000,  1.0000])
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if max_val <= min_val:
            raise ValueError(f"Hardtanh: max_val must be larger than min_val, got {max_val} and {min_val}")
        self.min_val, self.max_val, self.inplace = min_val, max_val, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return _shown(self, f"min_val={self.min_val}, max_val={self.max_val}")


class ReLU6(Hardtanh):
    """``min(max(x, 0), 6)`` of every element.

    Any shape and type; the result has the same.  ``inplace`` overwrites the input.

    >>> import accelgrad
    >>> ReLU6()(accelgrad.tensor([-1.0, 2.0, 9.0]))
    tensor([0., 2., 6.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        return _shown(self)


class LeakyReLU(Module):
    """``x`` where x is positive, else ``negative_slope x``.

    Any shape, floating point; the result has the same shape.  ``inplace`` overwrites the input.
    NotImplementedError for integers.

    >>> import accelgrad
    >>> LeakyReLU(0.5)(accelgrad.tensor([-1.0, 2.0]))
    tensor([-0.5000,  2.0000])
    """

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return _shown(self, f"negative_slope={self.negative_slope}")


class RReLU(Module):
    """``x`` where x is positive, else ``r x`` with a random slope r.  Xu et al. 2015.

    In training r is drawn from [lower, upper) for every element; in evaluation it is their mean.  Any shape,
    floating point; the result has the same shape.  ``inplace`` overwrites the input.  RuntimeError in forward
    unless lower <= upper.

    >>> import accelgrad
    >>> RReLU(0.2, 0.4).eval()(accelgrad.tensor([-1.0, 1.0]))
    tensor([-0.3000,  1.0000])
    """

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return _shown(self, f"lower={self.lower}, upper={self.upper}")


class PReLU(Module):
    """``x`` where x is positive, else ``weight x`` with a learned slope.  He et al. 2015, equation 1.

    ``num_parameters`` is 1 (one slope for all) or the number of channels; ``init`` is the first value.
    Input (n, channels, ...), floating point, of the weight's type; the result has the same shape.
    RuntimeError for another number of channels.

    >>> import accelgrad
    >>> PReLU()(accelgrad.tensor([-1.0, 2.0]))
    tensor([-0.2500,  2.0000], grad_fn=<PReluBackward0>)
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(empty((num_parameters,), device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the slopes to their first value."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(Module):
    """``x`` where x is positive, else ``alpha (exp(x) - 1)``.  Clevert et al. 2016, equation 1.

    Any shape, floating point; the result has the same shape.  ``inplace`` overwrites the input.
    NotImplementedError for integers.

    >>> import accelgrad
    >>> ELU()(accelgrad.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """

    _function: Function = staticmethod(F.elu)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input: Tensor) -> Tensor:
        return self._function(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return _shown(self, f"alpha={self.alpha}")


class CELU(ELU):
    """``max(x, 0) + min(alpha (exp(x / alpha) - 1), 0)``: an ELU without a kink, whatever alpha is.

    Barron 2017.  Any shape, floating point; the result has the same shape.  ``inplace`` overwrites the input.
    NotImplementedError for integers, RuntimeError in forward for alpha = 0.

    >>> import accelgrad
    >>> CELU(alpha=2.0)(accelgrad.tensor([-1.0, 1.0]))
    tensor([-0.7869,  1.0000])
    """

    _function = staticmethod(F.celu)


class GELU(Module):
    """``x Phi(x)``, where Phi is the normal distribution function.  Hendrycks & Gimpel 2016.

    ``approximate="tanh"`` takes ``x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x³))) / 2`` instead.  Any shape,
    floating point; the result has the same shape.  NotImplementedError for integers, RuntimeError in forward
    for another ``approximate``.

    >>> import accelgrad
    >>> GELU()(accelgrad.tensor([-1.0, 1.0]))
    tensor([-0.1587,  0.8413])
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class GLU(Module):
    """``a sigmoid(b)``, where a and b are the halves of the input along ``dim``.  Dauphin et al. 2017.

    (..., 2 n, ...) gives (..., n, ...), floating point.  RuntimeError for an odd extent, NotImplementedError
    for integers.

    >>> import accelgrad
    >>> GLU()(accelgrad.tensor([2.0, 4.0, 0.0, 0.0]))
    tensor([1., 2.])
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softplus(Module):
    """``log(1 + exp(beta x)) / beta``: a smooth ReLU; x itself where ``beta x > threshold``.

    Any shape, floating point; the result has the same shape.  NotImplementedError for integers.

    >>> import accelgrad
    >>> Softplus()(accelgrad.tensor([0.0, 100.0]))
    tensor([  0.6931, 100.0000])
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class _Shrink(Module):
    """An activation that is 0 between -``lambd`` and ``lambd``."""

    _function: Function

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        """The activation of every element."""
        return self._function(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Hardshrink(_Shrink):
    """``x`` where ``|x| > lambd``, else 0.

    Any shape, floating point; the result has the same shape.  NotImplementedError for integers.

    >>> import accelgrad
    >>> Hardshrink()(accelgrad.tensor([-1.0, 0.3]))
    tensor([-1.,  0.])
    """

    _function = staticmethod(F.hardshrink)


class Softshrink(_Shrink):
    """``x - lambd`` where ``x > lambd``, ``x + lambd`` where ``x < -lambd``, else 0.

    Any shape, floating point; the result has the same shape.  NotImplementedError for integers, RuntimeError
    in forward for a negative ``lambd``.

    >>> import accelgrad
    >>> Softshrink()(accelgrad.tensor([-1.0, 0.3, 2.0]))
    tensor([-0.5000,  0.0000,  1.5000])
    """

    _function = staticmethod(F.softshrink)


# --- softmax and its kin


class _Along(Module):
    """A function along the dimension ``dim``; without ``dim`` PyTorch's old choice, with its warning."""

    _function: Function

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """The function along ``dim``."""
        return self._function(input, self._chosen(input))

    def _chosen(self, input: Tensor) -> int:
        """The dimension: ``dim``, or 0 for inputs of 0, 1 and 3 dimensions, else 1."""
        if self.dim is not None:
            return self.dim
        warnings.warn(
            f"Implicit dimension choice for {type(self).__name__} has been deprecated."
            " Change the call to include dim=X as an argument.",
            stacklevel=4,
        )
        return 0 if input.ndim in (0, 1, 3) else 1

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_Along):
    """``exp(x) / sum(exp(x))`` along ``dim``: positive numbers with sum 1.

    Any shape, floating point; the result has the same shape.  NotImplementedError for integers, IndexError
    where there is no dimension ``dim``.

    >>> import accelgrad
    >>> Softmax(dim=1)(accelgrad.tensor([[0.0, 0.0], [0.0, 2.0]]))
    tensor([[0.5000, 0.5000],
            [0.1192, 0.8808]])
    """

    _function = staticmethod(F.softmax)


class Softmin(_Along):
    """``softmax(-x)`` along ``dim``: the smallest number gets the largest share.

    Any shape, floating point; the result has the same shape.  NotImplementedError for integers, IndexError
    where there is no dimension ``dim``.

    >>> import accelgrad
    >>> Softmin(dim=0)(accelgrad.tensor([0.0, 2.0]))
    tensor([0.8808, 0.1192])
    """

    _function = staticmethod(F.softmin)


class LogSoftmax(_Along):
    """``x - log(sum(exp(x)))`` along ``dim``: the logarithm of softmax, in one step that does not overflow.

    Any shape, floating point; the result has the same shape.  NotImplementedError for integers, IndexError
    where there is no dimension ``dim``.

    >>> import accelgrad
    >>> LogSoftmax(dim=0)(accelgrad.tensor([0.0, 0.0]))
    tensor([-0.6931, -0.6931])
    """

    _function = staticmethod(F.log_softmax)


class Softmax2d(Module):
    """Softmax over the channels of images, pixel by pixel.

    (n, c, h, w) or (c, h, w), floating point; the result has the same shape.  ValueError for another number
    of dimensions, NotImplementedError for integers.

    >>> import accelgrad
    >>> Softmax2d()(accelgrad.zeros(2, 1, 1))
    tensor([[[0.5000]],
    <BLANKLINE>
            [[0.5000]]])
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead")
        return F.softmax(input, -3)
