"""The checks of notebook 01 accept every right answer and say what is wrong with the others."""

from __future__ import annotations

import math

import pytest

import accelgrad as torch
from accelgrad import check


def by_loop(shape):
    strides, step = [], 1
    for extent in reversed(shape):
        strides.insert(0, step)
        step *= extent
    return tuple(strides)


@pytest.mark.parametrize(
    "answer",
    [
        by_loop,
        lambda shape: tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape))),
        lambda shape: torch.empty(shape).stride(),
    ],
)
def test_strides_found_in_any_way_are_accepted(answer):
    assert check("01.strides", answer)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda shape: list(by_loop(shape)), "a tuple of whole numbers"),
        (lambda shape: by_loop(shape)[::-1], "neighbours in memory"),
        (lambda shape: (*shape[1:], 1), "visits the cells"),
        (lambda shape: by_loop(shape)[:-1], "have"),
        (lambda shape: None, "is there a return"),
    ],
)
def test_wrong_strides_are_refused_with_a_hint(answer, hint):
    verdict = check("01.strides", answer)
    assert verdict.state == "wrong" and hint in verdict.message


@pytest.mark.parametrize(
    "answer",
    [
        lambda a, b: ((a.unsqueeze(1) - b.unsqueeze(0)) ** 2).sum(2),
        lambda a, b: (a[:, None] - b[None]).pow(2).sum(-1),
        lambda a, b: (a**2).sum(1, keepdim=True) + (b**2).sum(1) - 2 * a @ b.T,
    ],
)
def test_distances_found_in_any_way_are_accepted(answer):
    assert check("01.distances", answer)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda a, b: a - b, "your code raised RuntimeError"),
        (lambda a, b: (a[:, None] - b[None]) ** 2, "the sum over k is missing"),
        (lambda a, b: ((b[:, None] - a[None]) ** 2).sum(2), "the right extents in another order"),
        (lambda a, b: ((a[:, None] - b[None]) ** 2).sum(2).sqrt(), "their squares are asked for"),
        (lambda a, b: (a[:, None] - b[None]).sum(2), "values are wrong"),
    ],
)
def test_wrong_distances_are_refused_with_a_hint(answer, hint):
    verdict = check("01.distances", answer)
    assert verdict.state == "wrong" and hint in verdict.message


def over_rows(x):
    n, m, _ = x.shape
    return x.gather(1, torch.arange(m).expand(n, m).unsqueeze(1)).squeeze(1)


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: x.gather(2, torch.arange(x.shape[1]).expand(x.shape[:2]).unsqueeze(2)).squeeze(2),
        lambda x: x.gather(2, torch.arange(x.shape[1]).view(1, -1, 1).repeat(len(x), 1, 1))[:, :, 0],
        over_rows,
    ],
)
def test_diagonals_by_any_gather_are_accepted(answer):
    assert check("01.diagonals", answer)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda x: torch.diagonal(x, dim1=1, dim2=2), "no gather took them"),
        (lambda x: x.gather(2, torch.arange(x.shape[1]).expand(x.shape[:2]).unsqueeze(2)), "too many"),
        (
            lambda x: (
                x.flip(2).gather(2, torch.arange(x.shape[1]).expand(x.shape[:2]).unsqueeze(2)).squeeze(2)
            ),
            "upper right to the lower left",
        ),
        (lambda x: x[:, 0], "wrong"),
        (lambda x: x.gather(2, torch.arange(x.shape[1])), "your code raised RuntimeError"),
    ],
)
def test_wrong_diagonals_are_refused_with_a_hint(answer, hint):
    verdict = check("01.diagonals", answer)
    assert verdict.state == "wrong" and hint in verdict.message
