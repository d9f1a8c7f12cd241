"""Functions of complex numbers, for real ones: conj, real, angle; and where a tensor lies: is_cpu."""

from __future__ import annotations

import math

import numpy as np

from accelgrad.core.tensor import Tensor, attribute, wrap
from accelgrad.ops.registry import arg, op, sample


@op(
    reference=np.conj,
    samples=[sample(arg(2, 3)), sample(arg())],
    out=False,
    aliases=("conj_physical", "resolve_conj", "resolve_neg"),
)
def conj(input: Tensor) -> Tensor:
    """Return the tensor itself: a real number is its own conjugate.

    >>> import accelgrad
    >>> x = accelgrad.ones(2)
    >>> x.conj() is x
    True
    """
    return input


@op(reference=np.real, samples=[sample(arg(2, 3)), sample(arg())], out=False, method=False)
def real(input: Tensor) -> Tensor:
    """Return the tensor itself, which is its own real part, as ``x.real`` does.

    >>> import accelgrad
    >>> x = accelgrad.ones(2)
    >>> accelgrad.real(x) is x and x.real is x
    True
    """
    return input


@op(
    reference=np.angle,
    samples=[sample(arg(2, 3)), sample(arg(3, dtype="int64", values=[1, -1, 0]))],
)
def angle(input: Tensor) -> Tensor:
    """Return the angle of every element to the positive axis: pi for negative numbers, 0 for others.

    NaN stays NaN, and integers become float32.  The gradient is 0.

    >>> import accelgrad
    >>> accelgrad.angle(accelgrad.tensor([1.0, -1.0]))
    tensor([0.0000, 3.1416])
    """
    raw, array = input.xp, input.array
    kind = array.dtype if input.is_floating_point() else "float32"
    constant = wrap(raw.asarray(raw.where(array < 0, math.pi, 0.0), dtype=kind), raw)
    return constant + input * 0 if input.is_floating_point() else constant


@attribute("is_cpu")
def _is_cpu(self: Tensor) -> bool:
    """Tell whether the tensor lies in the memory of the CPU.

    >>> import accelgrad
    >>> accelgrad.ones(2).is_cpu
    True
    """
    return not self.is_cuda


@attribute("real")
def _real(self: Tensor) -> Tensor:
    """Return the tensor itself, which is its own real part."""
    return self


@attribute("imag")
def _imag(self: Tensor) -> Tensor:
    """Raise RuntimeError, since real tensors have no imaginary part in memory."""
    raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
