"""LayerNorm, RMSNorm, GroupNorm and LocalResponseNorm: normalisation of every sample by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn import init
from accelgrad.nn.modules.module import Module
from accelgrad.nn.modules.settings import repeated
from accelgrad.nn.parameter import Parameter, empty

__all__ = ["CrossMapLRN2d", "GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]


class LayerNorm(Module):
    """``(x - mean) / sqrt(var + eps) weight + bias`` over the last dimensions.  Ba, Kiros & Hinton 2016.

    ``normalized_shape`` says their extents, and is the shape of weight and bias; mean and (biased) variance
    are those of one sample.  ``elementwise_affine=False`` leaves out weight and bias, ``bias=False`` bias.
    (..., *normalized_shape), floating point; the result has the same shape.  RuntimeError where the input
    does not end in that shape, NotImplementedError for integers.

    >>> import accelgrad
    >>> layer = LayerNorm(2)
    >>> layer
    LayerNorm((2,), eps=1e-05, elementwise_affine=True, bias=True)
    >>> layer(accelgrad.tensor([[1.0, 3.0], [0.0, 8.0]])).detach()
    tensor([[-1.0000,  1.0000],
            [-1.0000,  1.0000]])
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = repeated(normalized_shape, 1)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        for name, wanted in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            value = empty(self.normalized_shape, device=device, dtype=dtype) if wanted else None
            self.register_parameter(name, None if value is None else Parameter(value))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the scale to 1 and the shift to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine},"
            f" bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """``x / sqrt(mean(x²) + eps) weight`` over the last dimensions.  Zhang & Sennrich 2019, equation 4.

    ``normalized_shape`` says their extents, and is the shape of weight; ``eps=None`` is the smallest number
    that changes 1 in the input's type.  (..., *normalized_shape), floating point; the result has the same
    shape.  RuntimeError where the input does not end in that shape, NotImplementedError for integers.

    >>> import accelgrad
    >>> RMSNorm(2)(accelgrad.tensor([[3.0, 3.0], [1.0, -1.0]])).detach()
    tensor([[ 1.,  1.],
            [ 1., -1.]])
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = repeated(normalized_shape, 1)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        value = empty(self.normalized_shape, device=device, dtype=dtype) if elementwise_affine else None
        self.register_parameter("weight", None if value is None else Parameter(value))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the scale to 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """``(x - mean) / sqrt(var + eps) weight + bias`` over groups of channels of each sample.  Wu & He 2018.

    ``num_groups`` groups of num_channels / num_groups channels have a mean and a variance each; weight and
    bias (num_channels,) are left out by ``affine=False``, bias by ``bias=False``.  (n, num_channels, ...),
    floating point; the result has the same shape.  ValueError where the channels cannot be divided so,
    RuntimeError for another number of channels, NotImplementedError for integers.

    >>> import accelgrad
    >>> GroupNorm(2, 4)(accelgrad.tensor([[1.0, 3.0, 10.0, 20.0]])).detach()
    tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            value = empty((num_channels,), device=device, dtype=dtype) if wanted else None
            self.register_parameter(name, None if value is None else Parameter(value))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the scale to 1 and the shift to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine},"
            f" bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """``x / (k + alpha / size s)^beta``, where s is the sum of x² over ``size`` neighbouring channels.

    Krizhevsky, Sutskever & Hinton 2012, section 3.3.  (n, c, ...); the result has the same shape.  Integers
    become the default floating point type.

    >>> import accelgrad
    >>> LocalResponseNorm(1, alpha=3.0, beta=0.5)(accelgrad.ones(1, 1, 1))
    tensor([[[0.5000]]])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(LocalResponseNorm):
    """The older name of :class:`LocalResponseNorm`, for images (n, c, h, w).

    >>> import accelgrad
    >>> CrossMapLRN2d(1, alpha=3.0, beta=0.5)(accelgrad.ones(1, 1, 1, 1))
    tensor([[[[0.5000]]]])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__(size, alpha, beta, k)
