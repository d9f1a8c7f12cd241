"""im2col, col2im and max pooling against their plain formulas, with every kind of window."""

from __future__ import annotations

import numpy as np
import pytest

WINDOWS = [
    (3, 1, 1, 1),
    ((2, 3), (2, 1), (0, 1), (1, 2)),
    (3, 3, 2, 2),
    (1, 1, 0, 1),
    (2, 3, 0, 1),
    (5, 1, 4, 1),
    (3, 1, 5, 1),
    (1, 4, 0, 1),
]
POOLS = [
    (2,),
    (3, 2, 1, 1, False),
    ((2, 3), (2, 1), (1, 1), (1, 1), True),
    (3, 3, 1, 2, True),
    (2, 2, 0, 1, False),
    (3, 2, 0, 1, True),
    (5, 5, 2),
]


def image(dtype, shape=(2, 3, 11, 9)):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("window", WINDOWS)
def test_im2col_and_its_adjoint_equal_their_formulas(window, dtype, threads, agree):
    x = image(dtype)
    columns = agree("im2col", x, *window)
    agree("col2im", columns, x.shape, *window, scale=25)


@pytest.mark.parametrize("window", WINDOWS)
def test_col2im_is_the_adjoint_of_im2col(window, xp):
    x = image(np.float64)
    columns = xp.im2col(x, *window)
    other = np.random.default_rng(1).normal(size=columns.shape)
    assert np.vdot(columns, other) == pytest.approx(np.vdot(x, xp.col2im(other, x.shape, *window)))


@pytest.mark.parametrize("pool", POOLS)
def test_max_pooling_and_its_gradient_equal_their_formulas(pool, dtype, threads, agree):
    x = image(dtype).round(1)  # so that there are ties
    y, indices = agree("max_pool2d", x, *pool)
    grad = np.random.default_rng(1).normal(size=y.shape).astype(dtype)
    agree("max_pool2d_backward", grad, indices, x.shape, scale=10)


def test_max_pooling_passes_nan_on_and_finds_a_place_among_minus_infinities(dtype, agree):
    x = image(dtype)
    x[0, 0, 3, 3] = np.nan
    x[1, :, :6] = -np.inf
    _, indices = agree("max_pool2d", x, 3, 2, 1)
    assert indices.min() >= 0 and indices.max() < 11 * 9


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("size", [(2, 2), (7, 9), (8, 34), (15, 14)])
def test_windows_of_two_by_two_find_the_first_maximum_whatever_the_values(
    size, ceil_mode, dtype, xp, formula, took
):
    rng = np.random.default_rng(0)
    values = np.array([0.0, -0.0, 1.0, 1.0, -2.0, np.inf, -np.inf, np.nan], dtype)
    for choice in (values[:5], values[:7], values):
        x = rng.choice(choice, (2, 3, *size))
        y, indices = xp.max_pool2d(x, 2, None, 0, 1, ceil_mode)
        other, places = formula.max_pool2d(x, 2, None, 0, 1, ceil_mode)
        np.testing.assert_array_equal(y, other)
        np.testing.assert_array_equal(indices, places)
    assert took == ["max_pool2d"] * 3


@pytest.mark.parametrize("shape", [(0, 3, 5, 5), (2, 0, 5, 5), (1, 1, 1, 1)])
def test_pooling_of_no_windows_is_the_formulas(shape, xp, formula, took):
    x = np.zeros(shape, np.float32)
    for found, wanted in zip(xp.max_pool2d(x, 2), formula.max_pool2d(x, 2), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert took == []


def test_pooling_indices_outside_of_the_image_raise(xp):
    grad = np.ones((1, 1, 2, 2), np.float32)
    with pytest.raises(IndexError, match="out of bounds"):
        xp.max_pool2d_backward(grad, np.full((1, 1, 2, 2), 99), (1, 1, 4, 4))


def test_a_strided_image_is_left_to_the_formula(xp, formula, took):
    x = image(np.float32)[:, :, ::2]
    np.testing.assert_array_equal(xp.im2col(x, 2), formula.im2col(x, 2))
    assert took == []
