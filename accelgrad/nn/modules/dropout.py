"""Dropout layers: in training they zero at random, in evaluation they do nothing."""

from __future__ import annotations

from collections.abc import Callable

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn.modules.module import Module

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"]


class _DropoutNd(Module):
    """A dropout with the probability ``p`` of a zero."""

    _function: Callable[..., Tensor]

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, input: Tensor) -> Tensor:
        """The input with zeros in training, the input itself in evaluation."""
        return self._function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_DropoutNd):
    """Zeroes single elements with probability ``p`` and divides the others by 1 - p, in training.

    Srivastava et al. 2014.  Any shape, floating point; the result has the same shape.  ``inplace`` overwrites
    the input.  ValueError unless p lies in 0 ... 1.

    >>> import accelgrad
    >>> layer = Dropout(0.5)
    >>> layer
    Dropout(p=0.5, inplace=False)
    >>> y = layer(accelgrad.ones(1000))
    >>> y.unique(), bool(abs(y.mean() - 1) < 0.2)
    (tensor([0., 2.]), True)
    >>> layer.eval()(accelgrad.ones(3))
    tensor([1., 1., 1.])
    """

    _function = staticmethod(F.dropout)


class Dropout1d(_DropoutNd):
    """Zeroes whole channels of sequences with probability ``p``, in training.  Tompson et al. 2015.

    (n, c, l) or (c, l), floating point; the result has the same shape.  What stays is divided by 1 - p;
    ``inplace`` overwrites the input.  ValueError unless p lies in 0 ... 1.

    >>> import accelgrad
    >>> y = Dropout1d()(accelgrad.ones(8, 5))
    >>> bool((y == y[:, :1]).all())
    True
    """

    _function = staticmethod(F.dropout1d)


class Dropout2d(_DropoutNd):
    """Zeroes whole channels of images with probability ``p``, in training.  Tompson et al. 2015.

    (n, c, h, w) or (c, h, w), floating point; the result has the same shape.  What stays is divided by 1 - p;
    ``inplace`` overwrites the input.  ValueError unless p lies in 0 ... 1.

    >>> import accelgrad
    >>> y = Dropout2d()(accelgrad.ones(2, 8, 5, 5))
    >>> bool((y == y[:, :, :1, :1]).all())
    True
    """

    _function = staticmethod(F.dropout2d)


class Dropout3d(_DropoutNd):
    """Zeroes whole channels of volumes with probability ``p``, in training.  Tompson et al. 2015.

    (n, c, d, h, w) or (c, d, h, w), floating point; the result has the same shape.  What stays is divided by
    1 - p; ``inplace`` overwrites the input.  ValueError unless p lies in 0 ... 1.

    >>> import accelgrad
    >>> y = Dropout3d()(accelgrad.ones(2, 8, 3, 3, 3))
    >>> bool((y == y[:, :, :1, :1, :1]).all())
    True
    """

    _function = staticmethod(F.dropout3d)


class AlphaDropout(_DropoutNd):
    """Dropout for SELU networks, in training: it keeps the mean 0 and the variance 1 of its input.

    Klambauer et al. 2017.  Any shape, floating point; the result has the same shape.  ValueError unless p
    lies in 0 ... 1.

    >>> import accelgrad
    >>> y = AlphaDropout(0.3)(accelgrad.randn(20000))
    >>> bool(abs(y.mean()) < 0.1), bool(abs(y.std() - 1) < 0.1)
    (True, True)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_DropoutNd):
    """:class:`AlphaDropout` of whole channels.

    (n, c, ...), floating point; the result has the same shape.  ValueError unless p lies in 0 ... 1.

    >>> import accelgrad
    >>> y = FeatureAlphaDropout()(accelgrad.ones(2, 3, 4))
    >>> bool((y == y[:, :, :1]).all())
    True
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training)
