"""The CUDA softmax family in the simulator against the plain formulas."""

from __future__ import annotations

import numpy as np
import pytest

from accelgrad.arrays import backend
from accelgrad.kernels import plain
from accelgrad.kernels.cuda import softmax as kernels


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


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 4, 2), (2, 2, 5), (3, 40)])
def test_each_row_of_a_causal_softmax_ends_at_its_own_place(shape: tuple[int, ...]) -> None:
    scores = numbers(*shape)
    assert kernels.causal_accepts(scores)
    np.testing.assert_allclose(
        kernels.causal_softmax(scores), plain.causal_softmax(backend.CPU, scores), rtol=1e-5, atol=1e-7
    )


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


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a card is silent about 0 / 0
@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize(
    "target", [[1], [2, 0, 3, 1, 0], [3, -100, 0, -100, 1], [-100, -100, -100, -100, -100]]
)
def test_the_total_of_cross_entropy_and_its_gradient(target: list[int], mean: bool) -> None:
    targets, grad = np.array(target), np.array(1.5, "float32")
    x = numbers(len(target), 4)
    assert kernels.total_accepts(x, targets, -100, mean)
    total, lse, scale = kernels.cross_entropy_total(x, targets, -100, mean)
    expected = plain.cross_entropy_total(backend.CPU, x, targets, -100, mean)
    assert total.shape == () and (scale is None) == (expected[2] is None)
    np.testing.assert_allclose(total, expected[0], rtol=1e-5)
    np.testing.assert_allclose(lse, expected[1], rtol=1e-5)
    assert kernels.total_backward_accepts(grad, x, targets, lse, scale, -100)
    np.testing.assert_allclose(
        kernels.cross_entropy_total_backward(grad, x, targets, lse, scale, -100),
        plain.cross_entropy_total_backward(backend.CPU, grad, x, targets, *expected[1:], -100),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("wrong", [-1, 4, 2**40])
def test_a_target_that_is_no_class_makes_the_loss_nan(wrong: int) -> None:
    total, _, _ = kernels.cross_entropy_total(numbers(3, 4), np.array([0, wrong, 1]), -100, True)
    assert np.isnan(total)


def test_other_axes_and_types_are_declined() -> None:
    x = numbers(3, 4)
    assert not kernels.last_axis(x, 0)
    assert not kernels.last_axis(x.T)
    assert not kernels.last_axis(x.astype("float16"))
    assert not kernels.entropy_accepts(x, np.zeros(3, "int32"))
