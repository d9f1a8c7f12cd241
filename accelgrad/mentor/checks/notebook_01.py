"""The exercises of notebook 01: strides, distances by broadcasting, diagonals by gather."""

from __future__ import annotations

from typing import Any

import numpy as np

import accelgrad
from accelgrad.mentor.checks import exercise, require, same, trials

__all__: list[str] = []


@exercise("01.strides", "a function that takes a shape and returns the strides of a contiguous tensor")
def strides(answer: Any) -> None:
    for rng in trials(6):
        shape = tuple(int(extent) for extent in rng.integers(2, 6, size=int(rng.integers(1, 5))))
        got = answer(shape)
        require(got is not None, "your function returned None: is there a return?")
        require(
            isinstance(got, tuple) and all(isinstance(one, int) for one in got),
            f"for the shape {shape} you returned {got!r}; a tuple of whole numbers is asked for",
        )
        require(
            len(got) == len(shape),
            f"the shape {shape} has {len(shape)} dimensions, your strides {got} have {len(got)}",
        )
        require(
            got[-1] == 1,
            f"for the shape {shape} your last stride is {got[-1]};"
            " but the last dimension's elements are neighbours in memory",
        )
        # The strides are right if they number the cells 0, 1, 2, ... in order.
        cells = sum(step * place for step, place in zip(got, np.indices(shape), strict=True))
        require(
            np.array_equal(np.ravel(cells), np.arange(np.size(cells))),
            f"for the shape {shape}, reading in order with your strides {got} visits the cells"
            f" {np.ravel(cells)[:8].tolist()} ...: they should be visited one after the other",
        )


@exercise("01.distances", "a function of a (n, d) and b (m, d) that returns the squared distances (n, m)")
def distances(answer: Any) -> None:
    for rng in trials(5):
        n, m, d = (int(extent) for extent in rng.permutation([2, 3, 5]))
        a, b = rng.normal(size=(n, d)), rng.normal(size=(m, d))
        got = answer(accelgrad.tensor(a), accelgrad.tensor(b))
        wanted = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T
        require(
            getattr(got, "shape", None) != (n, m, d),
            f"the result has shape {(n, m, d)}: the differences are there; the sum over k is missing",
        )
        if getattr(got, "shape", None) == (n, m):
            require(
                not np.allclose(np.square(got.tolist()), wanted),
                "these are the distances; their squares are asked for",
            )
        same(got, wanted, f"the result for a {a.shape} and b {b.shape}")


@exercise("01.diagonals", "a function that takes x (n, m, m) and returns the diagonals (n, m) by gather")
def diagonals(answer: Any) -> None:
    for rng in trials(5):
        n, m = (int(extent) for extent in rng.permutation([1, 2, 3, 4, 5])[:2])
        values = rng.normal(size=(n, m, m))
        x = accelgrad.tensor(values, requires_grad=True)
        got = answer(x)
        require(
            getattr(got, "shape", None) != (n, m, 1) or m == 1,
            f"the result has shape {(n, m, 1)}: one dimension too many at the end",
        )
        wanted = np.stack([np.diag(matrix) for matrix in values])
        require(
            getattr(got, "shape", None) != (n, m)
            or m == 1
            or not np.allclose(got.tolist(), np.stack([np.diag(one[:, ::-1]) for one in values])),
            "these are the diagonals from the upper right to the lower left; the main ones are asked for",
        )
        same(got, wanted, f"the result for x of shape {(n, m, m)}")
        require(
            _has_gather(got.grad_fn),
            "the values are right, but no gather took them: the exercise asks for x.gather(dim, index)",
        )


def _has_gather(node: Any) -> bool:
    """Whether a gather stands in the graph behind ``node``."""
    waiting, seen = [node], set()
    while waiting:
        one = waiting.pop()
        if one is None or one in seen:
            continue
        seen.add(one)
        if "gather" in one.name().lower():
            return True
        waiting.extend(parent for parent, _ in one.next_functions)
    return False
