"""Reductions: gradients at ties, zeros and single elements, and how several results are given back."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

import accelgrad


def leaf(values):
    return accelgrad.tensor(values, dtype=accelgrad.float64, requires_grad=True)


def test_the_largest_of_all_shares_its_gradient_among_equals():
    x = leaf([1.0, 3.0, 3.0, 2.0])
    x.max().backward()
    assert x.grad.tolist() == [0, 0.5, 0.5, 0]


def test_the_largest_along_a_dimension_gives_its_gradient_to_the_first():
    x = leaf([[1.0, 3.0, 3.0], [2.0, 2.0, 1.0]])
    values, indices = x.max(1)
    values.sum().backward()
    assert indices.tolist() == [1, 0]
    assert x.grad.tolist() == [[0, 1, 0], [1, 0, 0]]


def test_maximum_of_equal_tensors_halves_the_gradient():
    x, y = leaf([1.0, 2.0]), leaf([1.0, 0.0])
    accelgrad.maximum(x, y).sum().backward()
    assert x.grad.tolist() == [0.5, 1] and y.grad.tolist() == [0.5, 0]


@pytest.mark.parametrize(("values", "expected"), [([2.0, 0.0, 3.0], [0, 6, 0]), ([0.0, 0.0, 3.0], [0, 0, 0])])
def test_the_gradient_of_a_product_with_zeros_needs_no_division(values, expected):
    x = leaf(values)
    x.prod().backward()
    assert x.grad.tolist() == expected


def test_the_gradient_of_a_norm_at_zero_is_zero():
    x = leaf([0.0, 0.0])
    for norm in (x.norm(), x.norm(3), x.norm(math.inf)):
        x.grad = None
        norm.backward()
        assert x.grad.tolist() == [0, 0]


def test_the_deviation_of_a_single_element_is_nan_and_warns():
    with pytest.warns(UserWarning, match="degrees of freedom is <= 0"):
        assert math.isnan(accelgrad.tensor([3.0]).std().item())


def test_the_gradient_of_a_deviation_of_zero_is_zero():
    x = leaf([2.0, 2.0, 2.0])
    x.std().backward()
    assert x.grad.tolist() == [0, 0, 0]


@pytest.mark.host
def test_values_and_indices_come_as_a_named_tuple_that_prints_and_pickles():
    found = accelgrad.tensor([[1.0, 2.0]]).max(dim=1)
    assert repr(found) == "accelgrad.return_types.max(\nvalues=tensor([2.]),\nindices=tensor([1]))"
    again = pickle.loads(pickle.dumps(found))
    assert type(again) is type(found) and again.indices.tolist() == [1]


def test_nan_is_the_largest_and_the_smallest():
    x = accelgrad.tensor([1.0, float("nan"), 3.0])
    assert math.isnan(x.max().item()) and math.isnan(x.min().item())
    assert x.argmax().item() == x.argmin().item() == 1


def test_half_precision_is_summed_in_single_precision():
    x = accelgrad.ones(4096, dtype=accelgrad.float16) + 0.001
    assert x.sum().dtype is accelgrad.float16
    assert x.mean().item() == pytest.approx(1.001, abs=1e-3)


def test_bools_and_small_integers_are_summed_as_int64():
    assert accelgrad.ones(300, dtype=accelgrad.uint8).sum().item() == 300
    assert (accelgrad.ones(3) > 0).sum().dtype is accelgrad.int64


def test_logsumexp_over_infinities_has_a_clean_gradient():
    x = leaf([-math.inf, 0.0])
    x.logsumexp(0).backward()
    np.testing.assert_allclose(x.grad.numpy(), [0, 1])
