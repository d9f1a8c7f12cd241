"""Windows that taper a signal at its ends: Hann, Hamming, Blackman, Bartlett and Kaiser."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from accelgrad.arrays import backend, dtypes
from accelgrad.arrays.dtypes import dtype as DType
from accelgrad.core.tensor import Tensor
from accelgrad.ops.creation.create import made
from accelgrad.ops.registry import op, sample


def _made(
    name: str,
    formula: Callable[[Any], Any],
    length: int,
    periodic: bool,
    dtype: DType | None,
    device: Any,
    requires_grad: bool,
) -> Tensor:
    """Compute a window by a formula of places that run from -1 to 1, with 0 in the middle.

    A periodic window is one point longer, and its last point is left out.  RuntimeError for a negative length
    and for dtypes that are not floating point.
    """
    if length < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={length}")
    kind = dtypes.get_default_dtype() if dtype is None else dtype
    if not kind.is_floating_point:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {kind}")
    if length == 1:
        values = np.ones(1)
    else:
        last = length if periodic else length - 1
        values = formula(2 * np.arange(length) / max(last, 1) - 1)
    xp = backend.namespace(device)
    return made(xp.from_host(np.asarray(values, dtype=kind.numpy)), xp, requires_grad)


def _cosines(*weights: float) -> Callable[[Any], Any]:
    """Return the function w_0 + w_1 cos(pi x) + w_2 cos(2 pi x) + ... of x, for the given weights."""
    return lambda x: sum(weight * np.cos(k * math.pi * x) for k, weight in enumerate(weights))


LENGTHS = [sample(5), sample(6, periodic=False), sample(1), sample(0), sample(4, dtype=dtypes.float64)]
NEGATIVE = (sample(-1), RuntimeError, "requires non-negative window_length, got window_length=-1")
WHOLE = (sample(3, dtype=dtypes.int64), RuntimeError, "expects floating point dtypes")


@op(samples=LENGTHS, errors=[NEGATIVE, WHOLE], differentiable=False, method=False, out=False)
def hann_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return the Hann window: ``sin²(pi n / N)`` for n = 0, 1, ..., ``window_length`` - 1.

    N is the length if ``periodic`` (for spectra), else one less (for filters).  The dtype is the default
    floating point one unless given.  RuntimeError for a negative length and for dtypes that are not floating
    point.

    >>> import accelgrad
    >>> accelgrad.hann_window(5, periodic=False)
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    return _made(
        "hann_window", _cosines(0.5, 0.5), window_length, periodic, dtype, device, requires_grad
    )  # fmt: skip


@op(
    samples=[*LENGTHS, sample(5, True, 0.5, 0.4)],
    errors=[NEGATIVE, WHOLE],
    differentiable=False,
    method=False,
    out=False,
)
def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return the Hamming window: ``alpha - beta cos(2 pi n / N)``, with n and N as in :func:`hann_window`.

    >>> import accelgrad
    >>> accelgrad.hamming_window(3, periodic=False)
    tensor([0.0800, 1.0000, 0.0800])
    """
    return _made(
        "hamming_window", _cosines(alpha, beta), window_length, periodic, dtype, device, requires_grad
    )  # fmt: skip


@op(samples=LENGTHS, errors=[NEGATIVE, WHOLE], differentiable=False, method=False, out=False)
def blackman_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return the Blackman window: ``0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N)``.

    n and N are those of :func:`hann_window`.

    >>> import accelgrad
    >>> accelgrad.blackman_window(5, periodic=False)[1:4]
    tensor([0.3400, 1.0000, 0.3400])
    """
    formula = _cosines(0.42, 0.5, 0.08)
    return _made("blackman_window", formula, window_length, periodic, dtype, device, requires_grad)


@op(samples=LENGTHS, errors=[NEGATIVE, WHOLE], differentiable=False, method=False, out=False)
def bartlett_window(
    window_length: int,
    periodic: bool = True,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return the Bartlett window, a triangle: ``1 - |2 n / N - 1|``, with n and N as in :func:`hann_window`.

    >>> import accelgrad
    >>> accelgrad.bartlett_window(5, periodic=False)
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    return _made(
        "bartlett_window", lambda x: 1 - np.abs(x), window_length, periodic, dtype, device, requires_grad
    )  # fmt: skip


@op(
    samples=[*LENGTHS, sample(6, True, 3.0)],
    errors=[NEGATIVE, WHOLE],
    differentiable=False,
    method=False,
    out=False,
)
def kaiser_window(
    window_length: int,
    periodic: bool = True,
    beta: float = 12.0,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return the Kaiser window: ``I0(beta sqrt(1 - (2 n / N - 1)²)) / I0(beta)``.

    I0 is the modified Bessel function of order 0; n and N are those of :func:`hann_window`.

    >>> import accelgrad
    >>> accelgrad.kaiser_window(3, periodic=False, beta=0.0)
    tensor([1., 1., 1.])
    """

    def formula(x: Any) -> Any:
        return np.i0(beta * np.sqrt(np.maximum(1 - x * x, 0))) / np.i0(beta)

    return _made("kaiser_window", formula, window_length, periodic, dtype, device, requires_grad)
