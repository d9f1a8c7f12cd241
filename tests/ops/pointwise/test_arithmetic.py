"""Operators and arithmetic: what samples of one operation cannot say."""

from __future__ import annotations

import numpy as np
import pytest

import accelgrad


def test_an_operand_of_an_unknown_type_may_answer_itself():
    class Answer:
        def __radd__(self, other):
            return "mine"

    assert accelgrad.ones(2) + Answer() == "mine"


@pytest.mark.parametrize("other", [[1, 2], "text", None])
def test_adding_what_is_no_operand_is_a_type_error(other):
    with pytest.raises(TypeError, match="unsupported operand type"):
        accelgrad.ones(2) + other


@pytest.mark.host
def test_a_numpy_array_on_the_left_gives_a_tensor_with_gradient():
    x = accelgrad.ones(2, requires_grad=True)
    y = np.array([2.0, 3.0], dtype=np.float32) * x
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 3.0]


def test_shapes_that_do_not_broadcast_are_shown_aligned():
    with pytest.raises(RuntimeError) as caught:
        accelgrad.ones(4, 2, 3) + accelgrad.ones(3, 4)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(
        "The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 2"
    )
    assert "dimension 1 (2 against 3), 2 (3 against 4)" in lines[0]
    assert [line.split() for line in lines[1:]] == [["a:", "4", "2", "3"], ["b:", "3", "4"], ["^", "^"]]
    assert lines[1].index("3") == lines[2].index("4") == lines[3].rindex("^")


def test_reflected_operators_keep_the_order_of_their_operands():
    x = accelgrad.tensor([2.0, 4.0])
    assert (1 - x).tolist() == [-1.0, -3.0]
    assert (8 / x).tolist() == [4.0, 2.0]
    assert (2**x).tolist() == [4.0, 16.0]
    assert (9 // x).tolist() == [4.0, 2.0]
    assert (7 % x).tolist() == [1.0, 3.0]


def test_in_place_operators_keep_the_tensor_and_its_type():
    x = accelgrad.tensor([1, 2, 3])
    before = x
    x += 1
    x *= 2
    assert x is before and x.tolist() == [4, 6, 8]
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        x /= 2


def test_the_gradient_of_a_difference_with_itself_is_zero_and_of_a_quotient_too():
    x = accelgrad.tensor([3.0], requires_grad=True)
    (x - x).backward(retain_graph=True)
    assert x.grad.item() == 0
    x.grad = None
    (x / x).backward()
    assert x.grad.item() == 0


def test_powers_at_zero_have_finite_gradients():
    x = accelgrad.zeros(3, requires_grad=True)
    y = accelgrad.tensor([0.0, 1.0, 2.0], requires_grad=True)
    (x**y).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0]
    assert y.grad.tolist() == [0.0, 0.0, 0.0]


def test_negative_powers_of_integers_are_rounded_towards_zero():
    x = accelgrad.tensor([1, -1, -1, 5])
    assert (x ** accelgrad.tensor([-3, -3, -2, -1])).tolist() == [1, -1, 1, 0]


def test_division_by_zero_gives_inf_for_floats_and_an_error_for_integers():
    assert (accelgrad.tensor([1.0, -1.0]) / 0).tolist() == [np.inf, -np.inf]
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        accelgrad.tensor([1, 2]) // 0
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        accelgrad.tensor([1, 2]) % accelgrad.tensor([1, 0])


def test_a_number_gives_way_to_the_type_of_the_tensor():
    assert (accelgrad.ones(2, dtype=accelgrad.float16) * 2.5).dtype is accelgrad.float16
    assert (accelgrad.tensor([1], dtype=accelgrad.uint8) + 1).dtype is accelgrad.uint8
    assert (accelgrad.tensor([1], dtype=accelgrad.uint8) + 1.5).dtype is accelgrad.float32
