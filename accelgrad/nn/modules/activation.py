"""Activations as modules: each applies the function of :mod:`accelgrad.nn.functional` of the same meaning."""

from __future__ import annotations

import warnings
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn import init
from accelgrad.nn.modules.module import Module
from accelgrad.nn.parameter import Parameter, empty

__all__ = [
    "CELU", "ELU", "GELU", "GLU", "SELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU",
    "LogSigmoid", "LogSoftmax", "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SiLU", "Sigmoid", "Softmax",
    "Softmax2d", "Softmin", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink", "Threshold",
]  # fmt: skip


def _inplace(module: Any, *shown: str) -> str:
    """The printed settings of an activation, with ``inplace=True`` where it is set."""
    return ", ".join([*shown, *(["inplace=True"] if module.inplace else [])])


class _InPlace(Module):
    """An activation whose only setting is whether it overwrites its input."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        """``inplace=True`` if it is."""
        return _inplace(self)


class Threshold(Module):
    """x where x > threshold, ``value`` elsewhere."""

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold, self.value, self.inplace = threshold, value, inplace

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        """The threshold and the value."""
        return _inplace(self, f"threshold={self.threshold}, value={self.value}")


class ReLU(_InPlace):
    """max(x, 0), with gradient 0 at 0.

    >>> from accelgrad import Tensor
    >>> ReLU()(Tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.relu(input, self.inplace)


class RReLU(Module):
    """Leaky ReLU whose slope is drawn from [lower, upper) for each element in training, and their mean in
    evaluation.
    """

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        """The bounds of the slope."""
        return _inplace(self, f"lower={self.lower}, upper={self.upper}")


class Hardtanh(Module):
    """x, cut off at ``min_val`` and ``max_val``."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if max_val <= min_val:
            raise ValueError(f"Hardtanh: max_val must be larger than min_val, got {max_val} and {min_val}")
        self.min_val, self.max_val, self.inplace = min_val, max_val, inplace

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        """The bounds."""
        return _inplace(self, f"min_val={self.min_val}, max_val={self.max_val}")


class ReLU6(Hardtanh):
    """min(max(x, 0), 6)."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        """``inplace=True`` if it is."""
        return _inplace(self)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.sigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.tanh(input)


class LogSigmoid(Module):
    """log(1 / (1 + exp(-x)))."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.logsigmoid(input)


class Softsign(Module):
    """x / (1 + |x|)."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.softsign(input)


class Tanhshrink(Module):
    """x - tanh(x)."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.tanhshrink(input)


class Hardsigmoid(_InPlace):
    """min(max(x / 6 + 1/2, 0), 1).  Howard et al. 2019."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.hardsigmoid(input, self.inplace)

    def extra_repr(self) -> str:
        """Nothing, as PyTorch has it."""
        return ""


class Hardswish(Hardsigmoid):
    """x times hardsigmoid(x).  Howard et al. 2019."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.hardswish(input, self.inplace)


class SiLU(_InPlace):
    """x times sigmoid(x), also called swish."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.silu(input, self.inplace)


class Mish(_InPlace):
    """x tanh(softplus(x)).  Misra 2019."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.mish(input, self.inplace)


class SELU(_InPlace):
    """scale (x where x > 0, else alpha (exp(x) - 1)), with the constants of Klambauer et al. 2017."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.selu(input, self.inplace)


class ELU(Module):
    """x where x > 0, else alpha (exp(x) - 1).  Clevert et al. 2016."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        """The scale of the negative side."""
        return _inplace(self, f"alpha={self.alpha}")


class CELU(ELU):
    """max(x, 0) + min(alpha (exp(x / alpha) - 1), 0).  Barron 2017."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.celu(input, self.alpha, self.inplace)


class LeakyReLU(Module):
    """x where x > 0, else negative_slope x."""

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        """The slope."""
        return _inplace(self, f"negative_slope={self.negative_slope}")


class PReLU(Module):
    """Leaky ReLU with a learned slope, one for all (``num_parameters=1``) or one per channel.  He et al.
    2015.
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
        """(n, channels, ...); the result has the same shape."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """The number of slopes."""
        return f"num_parameters={self.num_parameters}"


class GELU(Module):
    """x Phi(x), Phi being the normal distribution function; ``approximate="tanh"`` takes the formula with
    tanh.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        """The way it is computed."""
        return f"approximate={self.approximate!r}"


class GLU(Module):
    """a sigmoid(b), a and b being the halves of the input along ``dim``.  Dauphin et al. 2017."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """(..., 2 n, ...) to (..., n, ...)."""
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        """The dimension."""
        return f"dim={self.dim}"


class _Shrink(Module):
    """An activation with the bound ``lambd``."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def extra_repr(self) -> str:
        """The bound."""
        return str(self.lambd)


class Hardshrink(_Shrink):
    """x where |x| > lambd, else 0."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.hardshrink(input, self.lambd)


class Softshrink(_Shrink):
    """x moved towards 0 by lambd, 0 within."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.softshrink(input, self.lambd)


class Softplus(Module):
    """log(1 + exp(beta x)) / beta; x itself where beta x > threshold."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """The settings."""
        return f"beta={self.beta}, threshold={self.threshold}"


class _Along(Module):
    """A function along the dimension ``dim``; without it PyTorch's old choice, with its warning."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def _dim(self, input: Tensor) -> int:
        if self.dim is not None:
            return self.dim
        warnings.warn(
            f"Implicit dimension choice for {type(self).__name__} has been deprecated. Change the call to"
            " include dim=X as an argument.",
            stacklevel=4,
        )
        return 0 if input.ndim in (0, 1, 3) else 1

    def extra_repr(self) -> str:
        """The dimension."""
        return f"dim={self.dim}"


class Softmax(_Along):
    """exp(x) / sum(exp(x)) along ``dim``."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.softmax(input, self._dim(input))


class Softmin(_Along):
    """softmax(-x) along ``dim``."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.softmin(input, self._dim(input))


class LogSoftmax(_Along):
    """x - log(sum(exp(x))) along ``dim``."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.log_softmax(input, self._dim(input))


class Softmax2d(Module):
    """Softmax over the channels of images (n, c, h, w) or (c, h, w)."""

    def forward(self, input: Tensor) -> Tensor:
        """Of the shape given above; the result has the same."""
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead")
        return F.softmax(input, -3)
