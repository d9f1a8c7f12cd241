"""Linear layers: Identity, Linear, Bilinear and LazyLinear."""

from __future__ import annotations

import math
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn import init
from accelgrad.nn.modules.lazy import LazyModuleMixin
from accelgrad.nn.modules.module import Module
from accelgrad.nn.parameter import Parameter, UninitializedParameter, empty

__all__ = ["Bilinear", "Identity", "LazyLinear", "Linear"]


class Identity(Module):
    """Gives back its input, whatever it is; any arguments are accepted.

    >>> import accelgrad
    >>> Identity(54, unused=True)(accelgrad.tensor([1.0]))
    tensor([1.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Linear(Module):
    """``y = x weightᵀ + bias``: every output is a weighted sum of the inputs.

    weight (out_features, in_features) and bias (out_features,), left out by ``bias=False``; first values:
    uniform in +-1 / sqrt(in_features).  (..., in_features), of the weight's type, gives (..., out_features).
    RuntimeError for another number of features or another type.

    >>> import accelgrad
    >>> layer = Linear(3, 2)
    >>> layer
    Linear(in_features=3, out_features=2, bias=True)
    >>> layer(accelgrad.randn(5, 3)).shape
    accelgrad.Size([5, 2])
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(empty((out_features, in_features), device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(empty((out_features,), device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new first values."""
        # With this slope kaiming_uniform_ draws from +-1 / sqrt(in_features).
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def _expects(self, input: Tensor) -> str:
        if input.ndim and input.array.shape[-1] != self.in_features:
            return (
                f"the input has {input.array.shape[-1]} features in its last dimension,"
                f" the layer expects {self.in_features}."
                f" Input shape {tuple(input.array.shape)}."
            )
        return ""

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )


class Bilinear(Module):
    """``y[k] = x1ᵀ weight[k] x2 + bias[k]``: every output is a weighted sum of the inputs' products.

    weight (out_features, in1_features, in2_features), bias (out_features,); first values: uniform in
    +-1 / sqrt(in1_features).  (..., in1_features) and (..., in2_features), of the weight's type, give
    (..., out_features).  ValueError unless in1_features is positive, RuntimeError for other inputs.

    >>> import accelgrad
    >>> Bilinear(2, 3, 4)(accelgrad.randn(5, 2), accelgrad.randn(5, 3)).shape
    accelgrad.Size([5, 4])
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"in1_features must be > 0, but got {in1_features}")
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        shape = (out_features, in1_features, in2_features)
        self.weight = Parameter(empty(shape, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(empty((out_features,), device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new first values: uniform in +-1 / sqrt(in1_features)."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features},"
            f" out_features={self.out_features}, bias={self.bias is not None}"
        )


class LazyLinear(LazyModuleMixin, Linear):
    """A :class:`Linear` that takes ``in_features`` from its first input, and then is one.

    >>> import accelgrad
    >>> layer = LazyLinear(2)
    >>> _ = layer(accelgrad.randn(5, 3))
    >>> layer
    Linear(in_features=3, out_features=2, bias=True)
    """

    cls_to_become = Linear

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, 0, False)
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_features = out_features
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw new first values as soon as there is a shape."""
        if not self.has_uninitialized_params() and self.in_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Take the shape from the first input."""
        self.in_features = input.array.shape[-1]
        # A checkpoint that was loaded has given the shapes already.
        if not self.has_uninitialized_params():
            return
        self.weight.materialize((self.out_features, self.in_features))
        if self.bias is not None:
            self.bias.materialize((self.out_features,))
        self.reset_parameters()
