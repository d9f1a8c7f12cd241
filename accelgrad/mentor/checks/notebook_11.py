"""The exercises of notebook 11, inside the kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad.mentor.checks import exercise, require, same, trials


class Walk:
    """A sequence of numbers that counts how often it was walked through."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.read = 0

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Any:
        for place in range(len(self.values)):
            yield self[place]

    def __getitem__(self, place: int) -> float:
        value = float(self.values[place])
        self.read += 1
        return value


@exercise("11.pairwise", "a function that sums by halves")
def pairwise(answer: Any) -> None:
    """A function of a one-dimensional float32 array; verified by its values, its error and its dtype."""
    require(callable(answer), "pairwise is a function of an array")
    for rng in trials(4):
        x = rng.normal(size=int(rng.integers(1, 200))).astype(np.float32)
        before = x.copy()
        total = answer(x)
        require(total is not None, "pairwise returned None: is there a return?")
        exact = math.fsum(x.tolist())
        scale = float(np.abs(x).sum())
        require(
            abs(float(total) - exact) <= 1e-6 * scale,
            f"the sum of {len(x)} numbers is {float(total):.6g}, and that is not their sum",
        )
        same(x, before, "the input after the call")
        require(
            getattr(total, "dtype", None) == np.float32,
            f"the result is a {type(total).__name__}; the additions shall be float32's",
        )
    tenths = np.full(1 << 16, 0.1, np.float32)
    exact = math.fsum(tenths.tolist())
    error = abs(float(answer(tenths)) - exact) / exact
    require(
        error < 1e-6,
        f"for {len(tenths)} times 0.1 the relative error is {error:.1e}:"
        " that is how it piles up from left to right",
    )


@exercise("11.logsumexp", "a function that computes log(sum(exp(x))) in one walk")
def logsumexp(answer: Any) -> None:
    """A function of a one-dimensional sequence; verified by values and by what it reads."""
    require(callable(answer), "logsumexp is a function of a one-dimensional array")
    cases = [rng.normal(size=int(rng.integers(1, 40)), scale=5.0) for rng in trials(4)]
    cases += [np.array([3.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0]), np.array([5.0])]
    for x in cases:
        goal = float(np.log(np.sum(np.exp(x - x.max()))) + x.max())
        same(answer(x.copy()), goal, f"the result for {len(x)} numbers")
    same(answer(np.array([1000.0, 999.0])), 1000.0 + math.log1p(math.exp(-1)), "the result for [1000, 999]")
    same(
        answer(np.array([-1000.0, -1001.0])),
        -1000.0 + math.log1p(math.exp(-1)),
        "the result for [-1000, -1001]",
    )
    walk = Walk(np.linspace(-2.0, 2.0, 50))
    same(
        answer(walk), float(np.log(np.sum(np.exp(walk.values)))), "the result for a sequence that only counts"
    )
    require(
        walk.read <= len(walk),
        f"{walk.read} numbers were read of a sequence of {len(walk)}: that is more than one walk",
    )


@exercise("11.intensity", "a function that gives the operations per byte of a matrix product")
def intensity(answer: Any) -> None:
    """A function of n; verified by counting."""
    require(callable(answer), "intensity is a function of n")
    for n in (1, 12, 600):
        operations, numbers = 2 * n**3, 3 * n * n
        value = float(answer(n))
        require(
            abs(value - operations / numbers) > 1e-9,
            f"intensity({n}) is {value:.4g} operations per number; how many bytes has a float32?",
        )
        require(
            abs(value - operations / (8 * numbers)) > 1e-9,
            f"intensity({n}) is {value:.4g}: that would be float64",
        )
        require(
            abs(value - operations / (4 * numbers)) < 1e-9 * max(1.0, value),
            f"intensity({n}) is {value:.4g}; count the multiplications and additions, and three matrices",
        )
