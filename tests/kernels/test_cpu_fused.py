"""The fused kernels against their plain formulas in float64: softmax and its family, norms, GELU,
embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

SHAPES = [(1, 1), (1, 31), (32, 33), (3, 1023), (2, 1025), (5, 4097), (64, 10)]


def numbers(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    return (2 * np.random.default_rng(seed).normal(size=shape)).astype(dtype)


@pytest.mark.parametrize("shape", [(7,), *SHAPES, (2, 3, 33)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_and_its_gradient_equal_their_formulas(name, shape, dtype, threads, agree):
    y = agree(name, numbers(shape, dtype))
    agree(f"{name}_backward", numbers(shape, dtype, 1), y, scale=shape[-1])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_softmax_of_a_row_with_nan_or_infinity_equals_its_formula(value, dtype, agree):
    x = numbers((4, 33), dtype)
    x[1, 3] = value
    x[2] = value
    agree("softmax", x)
    agree("log_softmax", x)
    agree("softmax_cross_entropy", x, np.array([0, 1, 2, 3]))


def test_softmax_of_large_numbers_does_not_overflow(dtype, agree):
    agree("softmax", np.array([[1e4, 1e4 - 1], [-1e4, 1e4]], dtype))


def test_softmax_over_another_axis_is_left_to_the_formula(xp, formula, took):
    x = numbers((3, 4, 5), np.float64)
    np.testing.assert_allclose(xp.softmax(x, axis=1), formula.softmax(x, axis=1))
    np.testing.assert_allclose(xp.softmax(x.T), formula.softmax(x.T))
    assert "softmax" not in took


@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy_and_its_gradient_equal_their_formulas(shape, dtype, threads, agree):
    x = numbers(shape, dtype)
    target = np.random.default_rng(1).integers(0, shape[1], shape[0])
    _, lse = agree("softmax_cross_entropy", x, target)
    agree("softmax_cross_entropy_backward", numbers(shape[:1], dtype, 2), x, target, lse)


def test_a_target_that_is_no_class_raises_and_reads_nothing_else(xp):
    x = numbers((4, 10), np.float32)
    with pytest.raises(IndexError, match="out of bounds"):
        xp.softmax_cross_entropy(x, np.array([0, 1, 10, 2]))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm_and_its_gradients_equal_their_formulas(shape, affine, dtype, threads, agree):
    x, grad = numbers(shape, dtype), numbers(shape, dtype, 1)
    weight, bias = (numbers(shape[1:], dtype, 2), numbers(shape[1:], dtype, 3)) if affine else (None, None)
    _, mean, rstd = agree("layer_norm", x, weight, bias, 1e-5)
    agree("layer_norm_backward", grad, x, weight, mean, rstd, scale=100)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 33), (33, 17, 49), (4, 3, 1), (2, 2, 4097)])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_and_its_gradients_equal_their_formulas(shape, affine, dtype, threads, agree):
    x, grad = numbers(shape, dtype), numbers(shape, dtype, 1)
    weight, bias = (numbers(shape[1:2], dtype, 2), numbers(shape[1:2], dtype, 3)) if affine else (None, None)
    _, mean, _, rstd = agree("batch_norm", x, weight, bias, 1e-5, scale=10)
    agree("batch_norm_backward", grad, x, weight, mean, rstd, scale=1000)


def test_the_sums_of_layer_norm_do_not_depend_on_the_threads(xp, monkeypatch):
    from accelgrad import kernels
    from accelgrad.kernels.cpu import norm

    monkeypatch.setattr(norm, "PARALLEL", 1)
    x, grad = numbers((257, 65), np.float32), numbers((257, 65), np.float32, 1)
    results = []
    for count in (1, 2):
        kernels.set_num_threads(count)
        _, mean, rstd = xp.layer_norm(x, None, None, 1e-5)
        results.append(xp.layer_norm_backward(grad, x, None, mean, rstd))
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("shape", [(), (1,), (31,), (33,), (1025,), (4097,), (3, 5, 7)])
def test_gelu_and_its_gradient_equal_their_formulas(shape, dtype, threads, agree):
    x = np.asarray(numbers(shape, dtype))
    agree("gelu", x)
    agree("gelu_backward", np.asarray(numbers(shape, dtype, 1)), x)


def test_gelu_keeps_its_relative_accuracy_for_very_negative_numbers(xp, formula):
    x = np.linspace(-9, -0.1, 500).astype(np.float32)
    np.testing.assert_allclose(xp.gelu(x), formula.gelu(x.astype(np.float64)), rtol=1e-5)


def test_gelu_of_special_numbers_equals_its_formula(dtype, agree):
    agree("gelu", np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 40, -40], dtype))


@pytest.mark.parametrize("n, d, rows", [(1, 1, 1), (31, 33, 5), (1025, 17, 1000), (4, 4097, 2)])
def test_the_gradient_of_an_embedding_equals_its_formula(n, d, rows, dtype, threads, agree):
    indices = np.random.default_rng(1).integers(0, rows, n)
    agree("embedding_backward", numbers((n, d), dtype), indices, rows, scale=10 * n)


def test_an_index_outside_of_the_table_raises(xp):
    with pytest.raises(IndexError, match="out of bounds"):
        xp.embedding_backward(numbers((2, 3), np.float32), np.array([0, 7]), 5)


@pytest.mark.parametrize(
    "name, args",
    [
        ("softmax", (np.zeros((0, 3), np.float32),)),
        ("softmax", (np.zeros((3, 0), np.float32),)),
        ("log_softmax", (np.float32(2) + np.zeros(()),)),
        ("gelu", (np.zeros((0,), np.float32),)),
        ("softmax", (np.zeros((2, 3), np.float16),)),
    ],
    ids=["no rows", "no columns", "0-d", "no elements", "float16"],
)
def test_arrays_that_no_kernel_accepts_get_the_formula(name, args, xp, formula, took):
    found, wanted = getattr(xp, name)(*args), getattr(formula, name)(*args)
    assert took == []
    np.testing.assert_array_equal(found, wanted)
