"""Dropout: what is drawn, what is scaled, what is left alone."""

from __future__ import annotations

import numpy as np
import pytest

import accelgrad as ag
from accelgrad.nn import functional as F


def test_elements_are_dropped_with_probability_p_and_the_rest_is_scaled():
    ag.manual_seed(0)
    y = F.dropout(ag.ones(20000), 0.3).numpy()
    assert set(np.unique(y).tolist()) == {0.0, float(np.float32(1 / 0.7))}
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.015)


def test_the_gradient_passes_where_the_value_did():
    x = ag.ones(100, requires_grad=True)
    y = F.dropout(x, 0.5)
    y.sum().backward()
    assert (x.grad.numpy() == y.detach().numpy()).all()


def test_the_seed_decides_what_is_dropped():
    draws = []
    for seed in (5, 5, 6):
        ag.manual_seed(seed)
        draws.append(F.dropout(ag.ones(64), 0.5).tolist())
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("options", [{"p": 0.5, "training": False}, {"p": 0.0}])
def test_without_anything_to_drop_the_input_itself_comes_back(options):
    x = ag.ones(3)
    assert F.dropout(x, **options) is x


def test_dropping_everything_gives_zeros_and_zero_gradients():
    x = ag.ones(3, requires_grad=True)
    y = F.dropout(x, 1.0)
    y.sum().backward()
    assert y.tolist() == x.grad.tolist() == [0.0, 0.0, 0.0]


def test_in_place_dropout_changes_its_input():
    x = ag.ones(50)
    assert F.dropout(x, 0.5, inplace=True) is x
    assert (x == 0).any()


@pytest.mark.parametrize("shape", [(6, 8, 5), (6, 8, 3, 3), (6, 8, 2, 2, 2)])
def test_channels_are_dropped_as_wholes(shape):
    function = (F.dropout1d, F.dropout2d, F.dropout3d)[len(shape) - 3]
    ag.manual_seed(1)
    y = function(ag.ones(*shape), 0.5).numpy().reshape(6, 8, -1)
    assert (y == y[:, :, :1]).all()
    assert 0 < (y[:, :, 0] == 0).mean() < 1


def test_dropout2d_of_three_dimensions_warns_and_names_the_remedy():
    with pytest.warns(UserWarning, match=r"Received a 3-D input to dropout2d.*unsqueeze\(0\)"):
        F.dropout2d(ag.ones(2, 3, 4))


def test_dropout1d_of_images_is_refused():
    with pytest.raises(RuntimeError, match="Expected 2D or 3D input, but received a 4D input"):
        F.dropout1d(ag.ones(1, 2, 3, 4))


def test_feature_dropout_needs_channels():
    with pytest.raises(RuntimeError, match="Feature dropout requires at least 2 dimensions"):
        ag.feature_dropout(ag.ones(3), 0.5, True)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_alpha_dropout_keeps_mean_and_variance(p):
    ag.manual_seed(0)
    y = F.alpha_dropout(ag.randn(50000), p, training=True).numpy()
    assert y.mean() == pytest.approx(0, abs=0.03)
    assert y.std() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", ["dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"])
@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_a_probability_outside_zero_and_one_is_refused(name, p):
    with pytest.raises(ValueError, match="dropout probability has to be between 0 and 1, but got"):
        getattr(F, name)(ag.ones(2, 2), p)
