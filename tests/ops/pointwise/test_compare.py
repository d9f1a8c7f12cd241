"""Comparison operators with operands of other types."""

from __future__ import annotations

import pytest

import accelgrad


@pytest.mark.parametrize("other", [None, "text", object()])
def test_a_tensor_equals_nothing_of_another_kind(other):
    x = accelgrad.ones(2)
    assert (x == other) is False
    assert (x != other) is True


def test_ordering_against_none_is_a_type_error():
    with pytest.raises(TypeError, match="not supported between instances"):
        accelgrad.ones(2) < None  # noqa: B015


def test_comparisons_carry_no_gradient():
    x = accelgrad.ones(2, requires_grad=True)
    assert not (x > 0).requires_grad


def test_a_number_on_the_left_turns_the_comparison_round():
    x = accelgrad.tensor([1, 2, 3])
    assert (2 < x).tolist() == [False, False, True]  # noqa: SIM300
    assert (2 >= x).tolist() == [True, True, False]  # noqa: SIM300


def test_tensors_stay_hashable_by_identity():
    x, y = accelgrad.ones(1), accelgrad.ones(1)
    assert len({x, y}) == 2
