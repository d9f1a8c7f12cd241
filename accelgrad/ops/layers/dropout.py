"""Dropout: of elements, of whole channels, and the kind that keeps mean and variance."""

from __future__ import annotations

import math
import warnings
from typing import Any

from accelgrad import random
from accelgrad.core.inplace import assign
from accelgrad.core.tensor import Tensor
from accelgrad.ops.creation.convert import clone
from accelgrad.ops.pointwise.scale import ScaleBy
from accelgrad.ops.registry import arg, op, sample

__all__ = [
    "alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout",
    "feature_dropout",
]  # fmt: skip


def draw(input: Tensor, shape: tuple[int, ...], p: float) -> Any:
    """A raw array of ``shape`` on the input's device, True with probability 1 - p: what survives the dropout.

    The one place where masks are drawn: 32 random bits an element, from the default generator, the same on
    every device.
    """
    return input.xp.keep_mask(input.array, shape, p, random.default_generator.numpy)


def _checked(p: float) -> float:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return p


def _drop(input: Tensor, shape: tuple[int, ...], p: float, inplace: bool) -> Tensor:
    """``input`` with elements (or what ``shape`` broadcasts to) set to 0, the rest divided by 1 - p."""
    kind = input.array.dtype
    if p == 1.0:
        factor = input.xp.zeros(shape, dtype=kind)
    else:
        factor = draw(input, shape, p) * kind.type(1 / (1 - p))
    result = ScaleBy.apply(input, factor=factor)
    return assign(input, result) if inplace else result


RANDOM: dict[str, Any] = {"namespace": "nn.functional", "method": False, "random": True, "out": False}
P_ERROR = (sample(arg(2), 1.5), ValueError, "dropout probability has to be between 0 and 1, but got 1.5")


@op(
    primitive=ScaleBy,
    samples=[
        sample(arg(3, 4), 0.5),
        sample(arg(3, 4), 0.3, training=False),
        sample(arg(2), 0.0),
        sample(arg(2), 1.0),
    ],
    errors=[P_ERROR],
    method=False,
    random=True,
    torch="nn.functional.dropout",
    out=False,
    also=("nn.functional.dropout",),
)
def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, sets each element to 0 with probability ``p`` and divides the rest by 1 - p.

    Else the input itself.

    So the expected value of every element stays (Srivastava et al. 2014).  ValueError unless 0 <= p <= 1.

    >>> import accelgrad
    >>> x = accelgrad.ones(1000)
    >>> y = accelgrad.dropout(x, 0.25)
    >>> bool(((y == 0) | (abs(y - 4 / 3) < 1e-6)).all()), accelgrad.dropout(x, 0.25, training=False) is x
    (True, True)
    """
    if not 0.0 <= p <= 1.0:
        _checked(p)
    if not training or p == 0.0 or input.array.size == 0:
        return input
    return _drop(input, input.array.shape, p, inplace)


def _drop_channels(input: Tensor, p: float, training: bool, inplace: bool) -> Tensor:
    if input.ndim < 2:
        raise RuntimeError(
            "Feature dropout requires at least 2 dimensions in the input:"
            f" batch and channels, got shape {tuple(input.shape)}"
        )
    _checked(p)
    if not training or p == 0.0 or input.array.size == 0:
        return input
    return _drop(input, (*input.array.shape[:2], *(1,) * (input.ndim - 2)), p, inplace)


@op(
    samples=[sample(arg(3, 4, 2), 0.5, True), sample(arg(3, 4), 0.5, False)],
    method=False,
    random=True,
    out=False,
    also=("nn.functional.feature_dropout",),
)
def feature_dropout(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Dropout of whole channels: input (n, c, ...), each of the n * c features is kept or set to 0 as one.

    >>> import accelgrad
    >>> y = accelgrad.feature_dropout(accelgrad.ones(4, 8, 5), 0.5, True)
    >>> bool((y == y[:, :, :1]).all())
    True
    """
    return _drop_channels(input, p, training, False)


@op(samples=[sample(arg(3, 4, 2), 0.5), sample(arg(4, 2), 0.5, training=False)], errors=[P_ERROR], **RANDOM)
def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of sequences: (n, c, length), or (c, length) without a batch.

    Tompson et al. 2015.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> y = F.dropout1d(accelgrad.ones(8, 5), 0.5)
    >>> bool((y == y[:, :1]).all())
    True
    """
    _checked(p)
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input of shape"
            f" {tuple(input.shape)}: it drops whole channels of (n, c, length) or (c, length)"
        )
    if input.ndim == 3:
        return _drop_channels(input, p, training, inplace)
    if not training or p == 0.0 or input.array.size == 0:
        return input
    return _drop(input, (input.array.shape[0], 1), p, inplace)


@op(
    samples=[sample(arg(3, 4, 2, 2), 0.5), sample(arg(3, 4, 2, 2), 0.5, training=False)],
    errors=[P_ERROR],
    **RANDOM,
)
def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of images (n, c, h, w).  Tompson et al. 2015.

    A warning for other numbers of dimensions; (n, c, length) is treated as channels of sequences, as in
    PyTorch.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> y = F.dropout2d(accelgrad.ones(2, 8, 3, 3), 0.5)
    >>> bool((y == y[:, :, :1, :1]).all())
    True
    """
    _checked(p)
    if input.ndim != 4:
        warnings.warn(
            f"dropout2d: Received a {input.ndim}-D input to dropout2d;"
            " its channels are taken to be dimension 1. Channels are dropped in (n, c, h, w);"
            " for (c, h, w) add a batch dimension with unsqueeze(0).",
            stacklevel=3,
        )
    return _drop_channels(input, p, training, inplace)


@op(
    samples=[sample(arg(2, 4, 2, 2, 1), 0.5), sample(arg(2, 4, 1, 2, 2), 0.5, training=False)],
    errors=[P_ERROR],
    **RANDOM,
)
def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of volumes (n, c, d, h, w).

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.dropout3d(accelgrad.ones(1, 2, 1, 1, 1), 1.0).sum()
    tensor(0.)
    """
    _checked(p)
    if input.ndim not in (4, 5):
        warnings.warn(
            f"dropout3d: Received a {input.ndim}-D input to dropout3d, which drops the channels of (n, c, d,"
            " h, w).",
            stacklevel=3,
        )
    return _drop_channels(input, p, training, inplace)


SATURATION = 1.7580993408473766
"""scale * alpha of selu: the negative of what selu tends to on the left."""


def _alpha_drop(input: Tensor, shape: tuple[int, ...], p: float, inplace: bool) -> Tensor:
    """Drop elements to -SATURATION, then apply the affine map that keeps mean and variance.

    Source: Klambauer et al. 2017, section "New dropout technique".
    """
    if p == 1.0:
        result = ScaleBy.apply(input, factor=input.xp.zeros(shape, dtype=input.array.dtype))
        return assign(input, result) if inplace else result
    kind = input.array.dtype.type
    a = 1 / math.sqrt((SATURATION**2 * p + 1) * (1 - p))
    kept = draw(input, shape, p).astype(input.array.dtype)
    shift = (kept - 1) * kind(SATURATION * a) + kind(SATURATION * a * p)
    result = ScaleBy.apply(clone(input) if inplace else input, factor=kept * kind(a), shift=shift)
    return assign(input, result) if inplace else result


@op(
    samples=[sample(arg(3, 4), 0.5, True), sample(arg(3), 0.2)],
    method=False,
    errors=[P_ERROR],
    random=True,
    torch="nn.functional.alpha_dropout",
    out=False,
    also=("nn.functional.alpha_dropout",),
)
def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout for selu networks: keeps the mean 0 and the variance 1 of the input.  Klambauer et al. 2017.

    >>> import accelgrad
    >>> y = accelgrad.alpha_dropout(accelgrad.randn(20000), 0.3, True)
    >>> bool(abs(y.mean()) < 0.1), bool(abs(y.std() - 1) < 0.1)
    (True, True)
    """
    _checked(p)
    if not training or p == 0.0 or input.array.size == 0:
        return input
    return _alpha_drop(input, input.array.shape, p, inplace)


@op(
    samples=[sample(arg(3, 4, 2), 0.5, True), sample(arg(3, 4), 0.2)],
    method=False,
    errors=[P_ERROR],
    random=True,
    torch="nn.functional.feature_alpha_dropout",
    out=False,
    also=("nn.functional.feature_alpha_dropout",),
)
def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """:func:`alpha_dropout` of whole channels: input (n, c, ...).

    >>> import accelgrad
    >>> y = accelgrad.feature_alpha_dropout(accelgrad.ones(2, 3, 4), 0.5, True)
    >>> bool((y == y[:, :, :1]).all())
    True
    """
    _checked(p)
    if not training or p == 0.0 or input.array.size == 0:
        return input
    return _alpha_drop(input, (*input.array.shape[:2], *(1,) * (input.ndim - 2)), p, inplace)
