"""Dropout layers: in training they zero at random, in evaluation they do nothing."""

from __future__ import annotations

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn.modules.module import Module

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"]


class _Dropout(Module):
    """``p`` is the probability of zero; what stays is scaled by 1 / (1 - p)."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p, self.inplace = p, inplace

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Zeroes single elements with probability ``p``.  Hinton et al. 2012.

    >>> Dropout(0.2)
    Dropout(p=0.2, inplace=False)
    """

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """Zeroes whole channels of sequences (n, c, l) or (c, l)."""

    def forward(self, input: Tensor) -> Tensor:
        """Of the shape given above; the result has the same."""
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """Zeroes whole channels of images (n, c, h, w)."""

    def forward(self, input: Tensor) -> Tensor:
        """Of the shape given above; the result has the same."""
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_Dropout):
    """Zeroes whole channels of volumes (n, c, d, h, w)."""

    def forward(self, input: Tensor) -> Tensor:
        """Of the shape given above; the result has the same."""
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_Dropout):
    """Dropout for SELU networks: keeps mean and variance.  Klambauer et al. 2017."""

    def forward(self, input: Tensor) -> Tensor:
        """Of any shape; the result has the same."""
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_Dropout):
    """:class:`AlphaDropout` of whole channels."""

    def forward(self, input: Tensor) -> Tensor:
        """(n, c, ...); the result has the same shape."""
        return F.feature_alpha_dropout(input, self.p, self.training)
