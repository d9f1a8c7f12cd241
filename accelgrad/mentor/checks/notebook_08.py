"""The exercises of notebook 08, variable-length text and collate_fn."""

from __future__ import annotations

from typing import Any

import numpy as np

import accelgrad
from accelgrad.core.tensor import Tensor
from accelgrad.mentor.checks import exercise, here, require, same, trials


def _lengths(rng: np.random.Generator, smallest: int = 0) -> tuple[Any, int]:
    """Lengths of one to six sequences, in no order, and the extent of their box, which may be larger."""
    lengths = rng.integers(smallest, 8, size=int(rng.integers(1, 7)))
    return lengths.astype(np.int64), int(max(lengths.max(), 1) + rng.integers(0, 3))


@exercise("08.mask", "a function that makes the mask of a padded batch from its lengths")
def mask(answer: Any) -> None:
    """A function of lengths (n,) and the box's extent; verified place by place, with its dtype."""
    require(callable(answer), "mask_of is a function of lengths and longest")
    for rng in trials(6):
        lengths, longest = _lengths(rng)
        wanted = np.array([[place < length for place in range(longest)] for length in lengths.tolist()])
        tensor = here(lengths)
        got = answer(tensor, longest)
        same(tensor, lengths, "lengths after the call")
        require(isinstance(got, Tensor), f"mask_of returned a {type(got).__name__}; a Tensor is asked for")
        what = f"the mask for lengths {lengths.tolist()} and longest={longest}"
        require(got.dtype is accelgrad.bool, f"{what} has dtype {got.dtype}; another is asked for")
        same(got, wanted, what)


@exercise("08.max", "a function that takes the maximum over the real steps only")
def masked_max(answer: Any) -> None:
    """A function of x (n, t, width) and lengths (n,); verified on negative values and by its gradient."""
    require(callable(answer), "masked_max is a function of x and lengths")
    for rng in trials(6):
        lengths, longest = _lengths(rng, smallest=1)
        width = int(rng.integers(1, 4))
        values = rng.normal(size=(len(lengths), longest, width)) - 4.0
        for row, length in enumerate(lengths.tolist()):
            values[row, length:] = 100.0  # what stands in the padding must not matter
        x = here(values).requires_grad_()
        got = answer(x, here(lengths))
        same(x, values, "x after the call")
        parts = [values[row, :length] for row, length in enumerate(lengths.tolist())]
        wanted = np.stack([part.max(axis=0) for part in parts])
        same(got, wanted, "the maxima of negative values, with 100 at the places of padding,")
        require(got.requires_grad, "no gradient flows through the result")
        got.sum().backward()
        goal = np.zeros_like(values)
        for row, part in enumerate(parts):
            goal[row, part.argmax(axis=0), np.arange(width)] = 1.0
        require(x.grad is not None, "no gradient arrives at x")
        same(x.grad, goal, "the gradient of the sum of the maxima")


@exercise("08.left", "a collate_fn that pads on the left")
def left(answer: Any) -> None:
    """A collate_fn of (list, label) pairs; verified field by field, also where all have one length."""
    require(callable(answer), "left_pad is a function of a list of samples")
    tables = [[([5, 6], 0), ([7, 8, 9], 1)], [([4], 2)], [([1, 2], 0), ([3, 4], 1)]]
    for rng in trials(4):
        sizes = rng.integers(1, 7, size=int(rng.integers(2, 6))).tolist()
        tables.append([(rng.integers(1, 50, size=n).tolist(), int(rng.integers(0, 6))) for n in sizes])
    for samples in tables:
        held = [(list(ids), label) for ids, label in samples]
        got = answer(samples)
        require(samples == held, "the samples themselves were changed by the call")
        require(
            isinstance(got, tuple | list) and len(got) == 3,
            "it returns three things: the padded numbers, the lengths and the labels",
        )
        longest = max(len(ids) for ids, _ in samples)
        ids = np.zeros((len(samples), longest), np.int64)
        for row, (tokens, _) in enumerate(samples):
            ids[row, longest - len(tokens) :] = tokens
        says = f"for lists of lengths {[len(tokens) for tokens, _ in samples]} "
        if isinstance(got[0], Tensor) and got[0].shape == ids.shape:
            first = got[0].xp.to_host(got[0].array)
            right_sided = all(first[row, 0] == tokens[0] for row, (tokens, _) in enumerate(samples))
            shorter = any(len(tokens) < longest for tokens, _ in samples)
            require(
                not (right_sided and shorter), says + "every row begins with its first token: padded right"
            )
        same(got[0], ids, says + "the padded tensor", dtype=accelgrad.int64)
        lengths = np.array([len(tokens) for tokens, _ in samples])
        same(got[1], lengths, says + "the tensor of lengths", dtype=accelgrad.int64)
        labels = np.array([label for _, label in samples])
        same(got[2], labels, says + "the tensor of labels", dtype=accelgrad.int64)
