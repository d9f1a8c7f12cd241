"""Elementwise functions at the edges of their domains."""

from __future__ import annotations

import math

import numpy as np
import pytest

import accelgrad
from accelgrad.autograd import gradcheck


def test_functions_outside_of_their_domain_are_silent_as_pytorchs():
    x = accelgrad.tensor([-1.0, 0.0])
    assert np.isnan(x.log()[0].item()) and x.log()[1].item() == -math.inf
    assert np.isnan(x.sqrt()[0].item())
    assert accelgrad.tensor([1000.0]).exp().item() == math.inf


def test_sigmoid_does_not_overflow():
    x = accelgrad.tensor([-1e4, 0.0, 1e4], requires_grad=True)
    y = x.sigmoid()
    y.sum().backward()
    assert y.tolist() == [0.0, 0.5, 1.0]
    assert x.grad.tolist() == [0.0, 0.25, 0.0]


def test_clamp_gives_the_gradient_to_the_limit_that_was_taken():
    x = accelgrad.tensor([-2.0, 0.5, 2.0], requires_grad=True)
    low = accelgrad.full((3,), -1.0, requires_grad=True)
    high = accelgrad.full((3,), 1.0, requires_grad=True)
    accelgrad.clamp(x, low, high).sum().backward()
    assert x.grad.tolist() == [0, 1, 0] and low.grad.tolist() == [1, 0, 0] and high.grad.tolist() == [0, 0, 1]


def test_rounding_has_a_gradient_of_zero():
    x = accelgrad.tensor([1.3, -0.7], requires_grad=True)
    (x.round() + x.floor() + x.sign()).sum().backward()
    assert x.grad.tolist() == [0, 0]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_polygamma_of_negative_numbers_follows_from_the_order_below(order):
    x = accelgrad.tensor([-0.3, -1.6, -7.4, 0.2], dtype=accelgrad.float64, requires_grad=True)
    assert gradcheck(lambda x: accelgrad.polygamma(order - 1, x), [x])


def test_bessel_functions_agree_where_series_and_integral_meet():
    x = accelgrad.tensor([49.999999, 50.000001], dtype=accelgrad.float64)
    for function in (accelgrad.special.i0e, accelgrad.special.i1e):
        below, above = function(x).tolist()
        assert above == pytest.approx(below, rel=1e-7)


def test_integers_become_the_default_floating_point_type():
    assert accelgrad.tensor([1, 4]).sqrt().dtype is accelgrad.float32
    accelgrad.set_default_dtype(accelgrad.float64)
    assert accelgrad.tensor([1, 4]).sqrt().dtype is accelgrad.float64
