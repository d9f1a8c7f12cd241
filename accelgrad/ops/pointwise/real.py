"""Real numbers as complex ones with an imaginary part of 0: conj, real, angle."""

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
    """The conjugate of real numbers: the tensor itself.

    >>> import accelgrad
    >>> x = accelgrad.ones(2)
    >>> x.conj() is x
    True
    """
    return input


@op(reference=np.real, samples=[sample(arg(2, 3)), sample(arg())], out=False, method=False)
def real(input: Tensor) -> Tensor:
    """The real part of real numbers: the tensor itself, as is ``x.real``.

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
    """pi for negative numbers, 0 for others, NaN for NaN: the angle to the positive numbers.

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
    """Whether it lives in the memory of the processor."""
    return not self.is_cuda


@attribute("real")
def _real(self: Tensor) -> Tensor:
    """The real part: the tensor itself."""
    return self


@attribute("imag")
def _imag(self: Tensor) -> Tensor:
    """RuntimeError: real numbers have no imaginary part in memory."""
    raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
