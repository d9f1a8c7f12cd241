"""Covariances and correlations of variables: cov, corrcoef."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.core.tensor import Tensor
from accelgrad.ops.registry import arg, op, sample

__all__ = ["corrcoef", "cov"]


def _numpy_cov(x: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    return np.asarray(np.cov(x, ddof=correction, fweights=fweights, aweights=aweights))


@op(
    reference=_numpy_cov,
    samples=[
        sample(arg(3, 5)),
        sample(arg(5)),
        sample(arg(3, 5), correction=0),
        sample(arg(2, 4), fweights=arg(4, dtype="int64", values=[1, 2, 1, 3])),
        sample(arg(2, 4), aweights=arg(4, low=0.5, high=2, requires_grad=False)),
        sample(
            arg(2, 3),
            correction=2,
            fweights=arg(3, dtype="int64", values=[4, 1, 2]),
            aweights=arg(3, low=0.5, high=2, requires_grad=False),
        ),
    ],
    errors=[
        (sample(arg(2, 2, 2)), RuntimeError, r"cov\(\): expected input to have two or fewer dimensions"),
        (sample(arg(2, 3), fweights=arg(3)), RuntimeError, "expected fweights to have integral dtype"),
        (
            sample(arg(2, 3), fweights=arg(2, dtype="int64")),
            RuntimeError,
            "expected fweights to have the same numel",
        ),
    ],
    out=False,
)
def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariances of the rows, each a variable with one observation per column: (n, m) to (n, n).

    ``fweights`` say how often each column was observed, ``aweights`` how much it counts; ``correction`` is
    subtracted from the number of observations.

    >>> import accelgrad
    >>> accelgrad.cov(accelgrad.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    if input.array.ndim > 2:
        raise RuntimeError(
            "cov(): expected input to have two or fewer dimensions but got an input"
            f" with {input.array.ndim} dimensions"
        )
    x = input.reshape(1, -1) if input.array.ndim < 2 else input
    observations = x.array.shape[1]
    weight = None
    for name, given, kinds in (("fweights", fweights, "iu"), ("aweights", aweights, dtypes.FLOATING)):
        if given is None:
            continue
        if given.array.ndim > 1:
            raise RuntimeError(f"cov(): expected {name} to have one or fewer dimensions")
        if given.array.dtype.kind not in kinds:
            word = "integral" if kinds == "iu" else "floating point"
            raise RuntimeError(f"cov(): expected {name} to have {word} dtype, got {given.dtype}")
        if given.array.size != observations:
            raise RuntimeError(
                f"cov(): expected {name} to have the same numel as there are observations in the input"
                f" but got {given.array.size} != {observations}"
            )
        weight = given if weight is None else weight * given
    if weight is None:
        total: Any = observations
        mean = x.sum(1, True) / observations
        correction_of = correction
    else:
        total = weight.sum()
        mean = (x * weight).sum(1, True) / total
        correction_of = correction if aweights is None else correction * (weight * aweights).sum() / total
    centred = x - mean
    scale = total - correction_of
    scale = scale.clamp(min=0) if isinstance(scale, Tensor) else max(scale, 0)
    result = (centred if weight is None else centred * weight) @ centred.transpose(0, 1) / scale
    return result.squeeze()


@op(
    reference=lambda x: np.asarray(np.corrcoef(x)),
    samples=[sample(arg(3, 5)), sample(arg(2, 4))],
    errors=[(sample(arg(2, 2, 2)), RuntimeError, r"corrcoef\(\): expected input to have two or fewer")],
    out=False,
)
def corrcoef(input: Tensor) -> Tensor:
    """The correlations of the rows, each a variable with one observation per column: (n, m) to (n, n).

    >>> import accelgrad
    >>> accelgrad.corrcoef(accelgrad.tensor([[0.0, 1.0, 2.0], [4.0, 2.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    if input.array.ndim > 2:
        raise RuntimeError(
            "corrcoef(): expected input to have two or fewer dimensions but got an input"
            f" with {input.array.ndim} dimensions"
        )
    covariance = cov(input)
    if not covariance.array.ndim:
        return covariance / covariance
    deviation = covariance.diagonal().sqrt()
    result = covariance / deviation.unsqueeze(1) / deviation
    return result.clamp(-1, 1)
