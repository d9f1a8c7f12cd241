"""Linear algebra that reports failure in a number beside the result: inv_ex, solve_ex, cholesky_ex."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.linalg.linalg import (
    NOT_SQUARE,
    POSITIVE,
    SINGULAR,
    SQUARE,
    Cholesky,
    Inverse,
    LinAlgError,
    Solve,
    matrices,
    regular,
    solve,
)
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.return_types import named
from accelgrad.ops.shapes.fill import where
from accelgrad.ops.shapes.shape import squeeze, transpose

_CHOLESKY = named("linalg_cholesky_ex", "L", "info")
_INVERSE = named("linalg_inv_ex", "inverse", "info")
_SOLVE = named("linalg_solve_ex", "result", "info")


def _attempt(A: Tensor, compute: Callable[[Tensor], Tensor], failure: Callable[[Any], int]) -> Any:
    """``compute(A)`` and zeros; or NaN and a number for the matrices for which ``failure`` is not 0."""
    raw, stack = A.xp, A.array.shape[:-2]
    try:
        result = compute(A)
        if not raw.asynchronous or bool(raw.all(raw.isfinite(result.array))):
            return result, wrap(raw.zeros(stack, dtype="int32"), raw)
    except LinAlgError:
        pass
    host = raw.to_host(A.array)
    numbers = np.array([failure(host[place]) for place in np.ndindex(stack)], dtype="int32").reshape(stack)
    info = raw.from_host(numbers)
    sound = wrap(raw.expand_dims(raw.expand_dims(info == 0, -1), -1), raw)
    result = compute(where(sound, A, wrap(raw.eye(A.array.shape[-1], dtype=A.array.dtype), raw)))
    if result.array.ndim < A.array.ndim:  # of a system with a vector
        sound = squeeze(sound, -1)
    return where(sound, result, math.nan), wrap(info, raw)


def _first_zero_pivot(A: np.ndarray) -> int:
    """The first k for which the leading k columns depend on each other, 0 where A is regular."""
    return next((k for k in range(1, len(A) + 1) if np.linalg.matrix_rank(A[:, :k]) < k), 0)


def _first_bad_minor(A: np.ndarray) -> int:
    """The order of the first leading minor that is not positive-definite, 0 where A is."""
    for k in range(1, len(A) + 1):
        try:
            np.linalg.cholesky(A[:k, :k])
        except np.linalg.LinAlgError:
            return k
    return 0


def _refuse(info: Tensor, told: str) -> None:
    """LinAlgError where a number is not 0."""
    numbers = info.xp.to_host(info.array)
    if numbers.any():
        raise LinAlgError(told.format(numbers[numbers > 0].reshape(-1)[0]))


def _zeros(A: Any) -> Any:
    return np.zeros(A.shape[:-2], "int32")


@op(
    primitive=Cholesky,
    reference=lambda A, *, upper=False: (
        np.swapaxes(np.linalg.cholesky(A), -1, -2) if upper else np.linalg.cholesky(A),
        _zeros(A),
    ),
    samples=[*POSITIVE, sample(regular(3, symmetric=True), upper=True)],
    errors=[NOT_SQUARE, (sample(SINGULAR, check_errors=True), LinAlgError, "leading minor of order 2")],
    namespace="linalg",
    method=False,
)
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """Compute :func:`cholesky` and, instead of an error, ``info``.

    It is 0, or the order of the first leading minor that is not positive-definite; L is NaN there.

    >>> import accelgrad
    >>> accelgrad.linalg.cholesky_ex(accelgrad.tensor([[1.0, 2.0], [2.0, 1.0]])).info
    tensor(2, dtype=accelgrad.int32)
    """
    matrices("cholesky_ex", A)
    L, info = _attempt(A, Cholesky.apply, _first_bad_minor)
    if check_errors:
        _refuse(
            info,
            "linalg.cholesky_ex: The factorization could not be completed"
            " because the input is not positive-definite"
            " (the leading minor of order {} is not positive-definite).",
        )
    return _CHOLESKY(transpose(L, -2, -1) if upper else L, info)


ZERO_DIAGONAL = (
    "The diagonal element {} is zero, the {} could not be completed because the input matrix is singular."
)


@op(
    primitive=Inverse,
    reference=lambda A: (np.linalg.inv(A), _zeros(A)),
    samples=SQUARE,
    errors=[NOT_SQUARE, (sample(SINGULAR, check_errors=True), LinAlgError, "The diagonal element 2 is zero")],
    namespace="linalg",
    method=False,
)
def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """Compute :func:`inv` and, instead of an error, ``info``.

    It is 0, or the number of the first zero pivot, and then the inverse is NaN.

    >>> import accelgrad
    >>> accelgrad.linalg.inv_ex(accelgrad.zeros(2, 2)).info
    tensor(1, dtype=accelgrad.int32)
    """
    matrices("inv_ex", A)
    result, info = _attempt(A, Inverse.apply, _first_zero_pivot)
    if check_errors:
        _refuse(info, "linalg.inv_ex: " + ZERO_DIAGONAL.format("{}", "inversion"))
    return _INVERSE(result, info)


@op(
    primitive=Solve,
    reference=lambda A, B: (np.linalg.solve(A, B), _zeros(A)),
    samples=[sample(regular(3), arg(3, 2)), sample(regular(2, batch=(2,)), arg(2, 2, 1))],
    errors=[
        (sample(arg(2, 3), arg(2)), *NOT_SQUARE[1:]),
        (sample(SINGULAR, arg(2, 1), check_errors=True), LinAlgError, "The diagonal element 2 is zero"),
    ],
    namespace="linalg",
    method=False,
)
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """Compute :func:`solve` and, instead of an error, ``info``.

    It is 0, or the number of the first zero pivot, and then the solution is NaN.

    >>> import accelgrad
    >>> accelgrad.linalg.solve_ex(accelgrad.zeros(2, 2), accelgrad.ones(2, 1)).info
    tensor(1, dtype=accelgrad.int32)
    """
    matrices("solve_ex", A)
    result, info = _attempt(A, lambda A: solve(A, B, left=left), _first_zero_pivot)
    if check_errors:
        _refuse(info, "linalg.solve_ex: " + ZERO_DIAGONAL.format("{}", "solve"))
    return _SOLVE(result, info)
