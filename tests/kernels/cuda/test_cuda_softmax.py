"""The CUDA softmax family in the simulator against the plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
from accelgrad.kernels.cuda import softmax as kernels

from accelgrad import backend
from accelgrad.kernels import plain


def numbers(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * 3).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 10), (2, 2, 33), (1, 257), (5,)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_values_and_gradients(name: str, shape: tuple[int, ...], dtype: str) -> None:
    x, grad = numbers(*shape, dtype=dtype), numbers(*shape, dtype=dtype, seed=1)
    assert kernels.last_axis(x)
    y = getattr(kernels, name)(x)
    np.testing.assert_allclose(y, getattr(plain, name)(backend.CPU, x), rtol=1e-5, atol=1e-6)
    expected = getattr(plain, f"{name}_backward")(backend.CPU, grad, y)
    np.testing.assert_allclose(getattr(kernels, f"{name}_backward")(grad, y), expected, rtol=1e-4, atol=1e-5)


def test_large_numbers_do_not_overflow() -> None:
    x = np.array([[1000.0, 1000.0, -1000.0]], "float32")
    np.testing.assert_allclose(kernels.softmax(x), [[0.5, 0.5, 0.0]])
    np.testing.assert_allclose(kernels.logsumexp(x, -1), [1000 + np.log(2)], rtol=1e-6)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a card is silent about inf - inf
def test_logsumexp_of_infinities() -> None:
    x = np.array([[-np.inf, -np.inf], [np.inf, 0.0], [0.0, np.nan]], "float32")
    result = kernels.logsumexp(x, 1, keepdims=True)
    assert result.shape == (3, 1)
    assert result[0, 0] == -np.inf and result[1, 0] == np.inf and np.isnan(result[2, 0])


@pytest.mark.parametrize("classes", [1, 10, 33, 130])
def test_cross_entropy_and_its_gradient(classes: int) -> None:
    x, grad = numbers(2, classes), numbers(2, seed=2)
    target = np.random.default_rng(3).integers(0, classes, 2)
    assert kernels.entropy_accepts(x, target)
    loss, lse = kernels.softmax_cross_entropy(x, target)
    expected = plain.softmax_cross_entropy(backend.CPU, x, target)
    np.testing.assert_allclose(loss, expected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(lse, expected[1], rtol=1e-5)
    gx = kernels.softmax_cross_entropy_backward(grad, x, target, lse)
    expected_gx = plain.softmax_cross_entropy_backward(backend.CPU, grad, x, target, lse)
    np.testing.assert_allclose(gx, expected_gx, rtol=1e-4, atol=1e-5)


def test_other_axes_and_types_are_declined() -> None:
    x = numbers(3, 4)
    assert not kernels.last_axis(x, 0)
    assert not kernels.last_axis(x.T)
    assert not kernels.last_axis(x.astype("float16"))
    assert not kernels.entropy_accepts(x, np.zeros(3, "int32"))
