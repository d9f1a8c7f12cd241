"""Convolutions at steps of 1 and their adjoints against the formulas with columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accelgrad import kernels
from accelgrad.kernels.cpu import conv
from accelgrad.kernels.windows import Geometry

# n, c, (h, w), o, (kh, kw), padding, dilation
CASES = [
    (1, 1, (1, 1), 1, (1, 1), (0, 0), (1, 1)),
    (3, 2, (5, 6), 7, (3, 3), (1, 1), (1, 1)),
    (2, 5, (14, 14), 13, (3, 3), (1, 1), (1, 1)),
    (17, 3, (9, 33), 12, (3, 5), (0, 2), (1, 1)),
    (2, 3, (31, 8), 25, (4, 1), (3, 0), (1, 2)),
    (2, 4, (40, 40), 6, (3, 2), (2, 1), (2, 3)),
    (2, 2, (3, 700), 6, (2, 7), (1, 0), (1, 1)),
    (1, 33, (6, 5), 4, (5, 5), (4, 2), (1, 1)),
    (1, 64, (40, 60), 6, (3, 3), (1, 1), (1, 1)),  # several portions of columns, and of places
]


def numbers(shape: tuple[int, ...], dtype: Any, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("n, c, space, o, window, padding, dilation", CASES)
def test_a_convolution_and_its_adjoints_equal_their_formulas(
    n, c, space, o, window, padding, dilation, dtype, threads, agree
):
    geometry = Geometry((1, 1), padding, dilation)
    x, weight = numbers((n, c, *space), dtype, 1), numbers((o, c, *window), dtype, 2)
    y = agree("convolution", x, weight, numbers((o,), dtype, 3), geometry, scale=20)
    agree("convolution", x, weight, None, geometry, scale=20)
    grad = numbers(y.shape, dtype, 4)
    agree("convolution_input", grad, weight, space, geometry, scale=50)
    agree("convolution_weight", x, grad, window, geometry, scale=200)


@pytest.mark.parametrize(
    "geometry, groups",
    [(Geometry((2, 1), (1, 1), (1, 1)), 1), (Geometry((1, 1), (1, 1), (1, 1), 2), 2)],
    ids=["a step of 2", "groups"],
)
def test_other_convolutions_are_left_to_the_formula(geometry, groups, xp, took):
    x, weight = numbers((2, 4, 6, 6), np.float32, 1), numbers((6, 4 // groups, 3, 3), np.float32, 2)
    y = xp.convolution(x, weight, None, geometry)
    xp.convolution_input(y, weight, (6, 6), geometry)
    xp.convolution_weight(x, y, (3, 3), geometry)
    assert not {"convolution", "convolution_input", "convolution_weight"} & set(took)


def test_more_padding_than_the_window_reaches_is_left_to_the_formula(xp, formula, took):
    geometry = Geometry((1, 1), (2, 2), (1, 1))
    weight, grad = numbers((6, 4, 2, 2), np.float32, 1), numbers((1, 6, 9, 9), np.float32, 2)
    found = xp.convolution_input(grad, weight, (6, 6), geometry)
    np.testing.assert_allclose(found, formula.convolution_input(grad, weight, (6, 6), geometry), atol=1e-4)
    assert "convolution_input" not in took


def test_few_output_channels_are_left_to_the_formula_in_the_mode_auto(took):
    from accelgrad.arrays import backend

    geometry = Geometry((1, 1), (1, 1), (1, 1))
    x = numbers((2, 8, 20, 20), np.float32, 1)
    with kernels.use("auto"):
        backend.CPU.convolution(x, numbers((2, 8, 3, 3), np.float32, 2), None, geometry)
        backend.CPU.convolution(
            x, numbers((16, 8, 1, 1), np.float32, 2), None, Geometry((1, 1), (0, 0), (1, 1))
        )
        assert "convolution" not in took
        backend.CPU.convolution(x, numbers((16, 8, 3, 3), np.float32, 2), None, geometry)
    assert "convolution" in took


def test_the_gradient_of_the_weights_does_not_depend_on_the_number_of_threads(dtype, xp, monkeypatch):
    monkeypatch.setattr(conv, "PARALLEL", 1)
    x, grad = numbers((21, 3, 9, 8), dtype, 1), numbers((21, 7, 9, 8), dtype, 2)
    results = []
    for threads in (1, 2, 3):
        kernels.set_num_threads(threads)
        results.append(xp.convolution_weight(x, grad, (3, 3), Geometry((1, 1), (1, 1), (1, 1))))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
