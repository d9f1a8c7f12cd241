"""Activations: what the samples of the grid cannot say."""

from __future__ import annotations

import math

import numpy as np
import pytest

import accelgrad as ag
from accelgrad.nn import functional as F

KINKS = [
    (F.relu, 0.0, 0.0),
    (F.leaky_relu, 0.0, 0.01),
    (F.hardtanh, 1.0, 0.0),
    (F.hardtanh, -1.0, 0.0),
    (F.relu6, 6.0, 0.0),
    (F.hardsigmoid, 3.0, 0.0),
    (F.hardshrink, 0.5, 0.0),
    (F.softshrink, -0.5, 0.0),
]


@pytest.mark.parametrize(("function", "place", "slope"), KINKS)
def test_the_gradient_at_a_kink_is_pytorchs(function, place, slope):
    x = ag.tensor([place], requires_grad=True)
    function(x).sum().backward()
    assert x.grad.item() == pytest.approx(slope)


@pytest.mark.parametrize(
    "name",
    [
        "relu",
        "relu6",
        "leaky_relu",
        "elu",
        "selu",
        "celu",
        "silu",
        "mish",
        "hardtanh",
        "hardsigmoid",
        "hardswish",
    ],
)
def test_in_place_activations_change_their_input_and_keep_the_gradient(name):
    function = getattr(F, name)
    start = np.linspace(-4, 4, 7)
    x, y = (ag.tensor(start, requires_grad=True) for _ in range(2))
    changed = x * 1
    result = function(changed, inplace=True)
    assert result is changed
    result.sum().backward()
    function(y * 1).sum().backward()
    np.testing.assert_allclose(changed.detach().numpy(), function(y).detach().numpy())
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy())


def test_threshold_in_place_takes_its_further_arguments():
    x = ag.tensor([0.0, 2.0])
    assert F.threshold(x, 1.0, 7.0, inplace=True).tolist() == [7.0, 2.0]
    assert x.tolist() == [7.0, 2.0]


@pytest.mark.parametrize("name", ["elu", "selu", "celu", "silu", "mish", "softplus", "gelu", "logsigmoid"])
def test_large_numbers_give_finite_values_and_gradients(name):
    x = ag.tensor([-1000.0, 1000.0], requires_grad=True)
    y = getattr(F, name)(x)
    y.sum().backward()
    assert np.isfinite(y.detach().numpy()).all()
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize(
    "name", ["relu", "leaky_relu", "elu", "hardtanh", "softshrink", "hardshrink", "softplus"]
)
def test_nan_goes_through(name):
    assert math.isnan(getattr(F, name)(ag.tensor([math.nan])).item())


def test_relu_of_integers_stays_integral():
    assert F.relu(ag.tensor([-1, 2])).dtype is ag.int64


def test_rrelu_draws_its_slopes_between_the_bounds():
    ag.manual_seed(0)
    x = ag.full((1000,), -1.0)
    slopes = -F.rrelu(x, 0.2, 0.5, training=True).numpy()
    assert slopes.min() >= 0.2 and slopes.max() < 0.5 and slopes.std() > 0.05
    assert (-F.rrelu(x, 0.2, 0.5).numpy() == np.float32(0.35)).all()


def test_rrelu_refuses_reversed_bounds():
    with pytest.raises(RuntimeError, match="Lower bound should be less than or equal to the upper bound"):
        F.rrelu(ag.ones(2), 0.5, 0.2)


def test_softmax_without_dim_warns_and_takes_pytorchs_choice():
    x = ag.randn(2, 3, 4)
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmax has been deprecated"):
        y = F.softmax(x)
    np.testing.assert_allclose(y.sum(0).numpy(), np.ones((3, 4)), rtol=1e-6)


def test_softmax_in_another_type_is_computed_in_that_type():
    x = ag.tensor([1, 2, 3])
    y = F.softmax(x, dim=0, dtype=ag.float64)
    assert y.dtype is ag.float64
    np.testing.assert_allclose(y.numpy(), np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum())


def test_softmax_gives_minus_infinity_no_share():
    y = F.softmax(ag.tensor([0.0, -math.inf, 0.0]), 0)
    assert y.tolist() == [0.5, 0.0, 0.5]


def test_hard_gumbel_softmax_is_one_hot_and_passes_the_soft_gradient():
    ag.manual_seed(1)
    x = ag.randn(5, 4).requires_grad_()
    y = F.gumbel_softmax(x, hard=True)
    assert sorted(set(np.round(y.detach().numpy(), 6).ravel().tolist())) == [0.0, 1.0]
    (y * ag.arange(4.0)).sum().backward()
    assert np.abs(x.grad.numpy()).max() > 0


def test_gumbel_softmax_draws_classes_in_proportion():
    ag.manual_seed(2)
    logits = ag.tensor([0.1, 0.3, 0.6]).log().expand(6000, 3)
    share = F.gumbel_softmax(logits, hard=True).mean(0).numpy()
    np.testing.assert_allclose(share, [0.1, 0.3, 0.6], atol=0.03)


def test_the_top_level_and_functional_show_one_function():
    for name in ("relu", "softmax", "log_softmax", "prelu", "selu", "dropout"):
        assert getattr(ag, name) is getattr(F, name)


def test_functional_has_the_in_place_forms_under_their_own_names():
    x = ag.tensor([-2.0, 2.0])
    assert F.leaky_relu_(x, 0.5) is x
    assert F.hardtanh_(x).tolist() == [-1.0, 1.0]
