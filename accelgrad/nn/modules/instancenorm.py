"""Instance normalisation in one, two and three dimensions: every channel of every sample by itself."""

from __future__ import annotations

from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn.modules.batchnorm import _LazyNormBase, _NormBase

__all__ = [
    "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
]  # fmt: skip


class _InstanceNorm(_NormBase):
    """Normalisation of each channel of each sample; see :class:`InstanceNorm2d`."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def _channel_dim(self, input: Tensor) -> int:
        """The dimension of the input that holds the channels: the first one without a batch."""
        return 0 if input.ndim < max(self._ranks) else 1

    def forward(self, input: Tensor) -> Tensor:
        """The normalised input, of the same shape."""
        self._check_input_dim(input)
        dim = self._channel_dim(input)
        channels = input.array.shape[dim]
        if channels != self.num_features and self.affine:
            raise ValueError(
                f"expected input's size at dim={dim} to match num_features ({self.num_features}), but got:"
                f" {channels}."
            )
        single = dim == 0
        batch = input.unsqueeze(0) if single else input  # (n, c, ...)
        result = F.instance_norm(
            batch,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return result.squeeze(0) if single else result


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of sequences; :class:`InstanceNorm2d` says the formula and settings.

    (n, num_features, l) or (num_features, l), floating point; the result has the same shape.  Errors as for
    images.

    >>> import accelgrad
    >>> InstanceNorm1d(2)(accelgrad.tensor([[1.0, 3.0], [5.0, 9.0]]))
    tensor([[-1.0000,  1.0000],
            [-1.0000,  1.0000]])
    """

    _ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """``(x - mean) / sqrt(var + eps) weight + bias`` for each channel of each image.

    Ulyanov, Vedaldi & Lempitsky 2016.  Mean and variance are those of one channel of one sample;
    ``affine=True`` learns weight and bias, ``track_running_stats=True`` keeps running statistics (averages
    over the samples) and uses them in evaluation.

    (n, num_features, h, w) or (num_features, h, w), floating point; the result has the same shape.
    ValueError for another number of dimensions, for a single value per channel in training, and, with
    ``affine``, for another number of channels.

    >>> import accelgrad
    >>> layer = InstanceNorm2d(3)
    >>> layer
    InstanceNorm2d(3, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=False)
    >>> layer(accelgrad.randn(2, 3, 4, 4)).shape
    accelgrad.Size([2, 3, 4, 4])
    """

    _ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of volumes; :class:`InstanceNorm2d` says the formula and settings.

    (n, num_features, d, h, w) or (num_features, d, h, w), floating point; the result has the same shape.
    Errors as for images.

    >>> import accelgrad
    >>> InstanceNorm3d(3)(accelgrad.randn(2, 3, 4, 4, 4)).shape
    accelgrad.Size([2, 3, 4, 4, 4])
    """

    _ranks = (4, 5)


# --- the number of channels from the first input


class LazyInstanceNorm1d(_LazyNormBase, InstanceNorm1d):
    """An :class:`InstanceNorm1d` that takes ``num_features`` from its first input, and then is one.

    >>> import accelgrad
    >>> layer = LazyInstanceNorm1d()
    >>> layer(accelgrad.randn(2, 3, 5)).shape, layer.num_features
    (accelgrad.Size([2, 3, 5]), 3)
    """

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNormBase, InstanceNorm2d):
    """An :class:`InstanceNorm2d` that takes ``num_features`` from its first input, and then is one.

    >>> import accelgrad
    >>> layer = LazyInstanceNorm2d()
    >>> layer(accelgrad.randn(2, 3, 4, 4)).shape, layer.num_features
    (accelgrad.Size([2, 3, 4, 4]), 3)
    """

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNormBase, InstanceNorm3d):
    """An :class:`InstanceNorm3d` that takes ``num_features`` from its first input, and then is one.

    >>> import accelgrad
    >>> layer = LazyInstanceNorm3d()
    >>> layer(accelgrad.randn(2, 3, 4, 4, 4)).shape, layer.num_features
    (accelgrad.Size([2, 3, 4, 4, 4]), 3)
    """

    cls_to_become = InstanceNorm3d
