"""Memory ribbons, broadcasting and gather: the numbers in the pictures are the true ones."""

from __future__ import annotations

import xml.etree.ElementTree as tree

import numpy as np
import pytest

import accelgrad
from accelgrad import viz


def texts(picture):
    return [
        element.text for element in tree.fromstring(picture.text).iter("{http://www.w3.org/2000/svg}text")
    ]


def test_views_stand_under_one_memory_and_copies_under_their_own():
    x = accelgrad.arange(12).reshape(3, 4)
    row, copy = x[1], x.T.reshape(12)
    shown = texts(viz.memory_ribbon(x, row, copy))
    assert "one memory, shown by 2 tensors" in shown and "memory of its own" in shown
    assert {"x", "row", "copy"} <= set(shown)
    assert "shape (4,), strides (1,)" in shown and "offset 4, contiguous" in shown


def test_a_transposed_view_shows_its_indices_in_the_order_of_memory():
    x = accelgrad.arange(6).reshape(2, 3)
    shown = texts(viz.memory_ribbon(x.T, names=["t"]))
    assert [text for text in shown if "," in text and len(text) == 3] == [
        "0,0",
        "1,0",
        "2,0",
        "0,1",
        "1,1",
        "2,1",
    ]


def test_an_expanded_tensor_says_how_many_indices_show_a_cell():
    x = accelgrad.arange(3).reshape(3, 1)
    shown = texts(viz.memory_ribbon(x, x.expand(3, 5)))
    assert shown.count("×5") == 3
    assert "shape (3, 5), strides (1, 0)" in shown


def test_a_long_memory_is_cut_and_says_so():
    assert "... 64 more" in texts(viz.memory_ribbon(accelgrad.arange(100)))


def test_ribbons_refuse_what_they_cannot_draw():
    with pytest.raises(ValueError, match="at least one tensor"):
        viz.memory_ribbon()
    with pytest.raises(ValueError, match="draws tensors, got a list"):
        viz.memory_ribbon([1, 2])


def test_broadcasting_shows_what_is_stretched_and_what_is_added():
    a, b = accelgrad.arange(3).reshape(3, 1) * 10, accelgrad.arange(4)
    shown = texts(viz.broadcasting(a, b))
    assert {"a (3, 1)", "b (4,)", "result (3, 4)", "1 → 4", "→ 3"} <= set(shown)
    assert shown.count("20") == 4  # the last row: one stored cell and three repeats


def test_broadcasting_marks_axes_that_do_not_fit():
    shown = texts(viz.broadcasting((2, 3), (2, 4)))
    assert "dim -1 does not fit" in shown and "✗" in shown


def test_broadcasting_needs_two_shapes():
    with pytest.raises(ValueError, match="at least two shapes, got 1"):
        viz.broadcasting((2, 3))


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_the_result_that_gather_draws_is_that_of_gather(dim):
    x = accelgrad.arange(27).reshape(3, 3, 3)
    index = accelgrad.randint(0, 3, (2, 2, 2))
    shown = texts(viz.gather_arrows(x, dim, index))
    result = [str(value) for value in x.gather(dim, index).numpy().reshape(-1).tolist()]
    assert shown[-8:] == result


def test_gather_says_its_rule_and_refuses_what_is_too_large():
    x = accelgrad.arange(6).reshape(2, 3)
    assert "out[i][j] = input[index[i][j]][j]" in texts(viz.gather_arrows(x, 0, np.array([[1, 0, 1]])))
    with pytest.raises(ValueError, match="up to 128 values"):
        viz.gather_arrows(accelgrad.zeros(200), 0, accelgrad.tensor([0]))
    with pytest.raises(IndexError, match="dim 2 is out of range"):
        viz.gather_arrows(x, 2, accelgrad.tensor([[0]]))
