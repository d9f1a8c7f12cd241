"""The CUDA normalisations in the simulator against the plain formulas, with parts and without."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accelgrad.arrays import backend
from accelgrad.kernels import plain
from accelgrad.kernels.cuda import norm


@pytest.fixture(params=[True, False], ids=["affine, in parts", "plain, whole"])
def affine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With weight and bias and in several parts, or without and in one."""
    monkeypatch.setattr(norm, "THREADS", 32)
    if request.param:
        monkeypatch.setattr(norm, "LEAST_PART", 3)
        monkeypatch.setattr(
            norm, "shares", lambda n, blocks, least: (max(-(-n // 3), 1), -(-n // max(-(-n // 3), 1)))
        )
    return request.param


def numbers(*shape: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype) + 5


def close(results: Any, expected: Any, tolerance: float) -> None:
    for one, other in zip(results, expected, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("rows", "width"), [(1, 1), (4, 5), (3, 33)])
def test_layer_norm_and_its_gradients(rows: int, width: int, affine: bool) -> None:
    x, grad = numbers(rows, width), numbers(rows, width, seed=1)
    weight, bias = (numbers(width, seed=2), numbers(width, seed=3)) if affine else (None, None)
    assert norm.layer_accepts(x, weight, bias, 1e-5)
    y, mean, rstd = norm.layer_norm(x, weight, bias, 1e-5)
    close((y, mean, rstd), plain.layer_norm(backend.CPU, x, weight, bias, 1e-5), 1e-9)
    assert norm.layer_backward_accepts(grad, x, weight, mean, rstd)
    gradients = norm.layer_norm_backward(grad, x, weight, mean, rstd)
    close(gradients, plain.layer_norm_backward(backend.CPU, grad, x, weight, mean, rstd), 1e-9)


@pytest.mark.parametrize("shape", [(1, 2, 3), (4, 3, 1), (2, 2, 17)])
def test_batch_norm_and_its_gradients(shape: tuple[int, int, int], affine: bool) -> None:
    c = shape[1]
    x, grad = numbers(*shape), numbers(*shape, seed=1)
    weight, bias = (numbers(c, seed=2), numbers(c, seed=3)) if affine else (None, None)
    assert norm.batch_accepts(x, weight, bias, 1e-5)
    y, mean, var, rstd = norm.batch_norm(x, weight, bias, 1e-5)
    close((y, mean, var, rstd), plain.batch_norm(backend.CPU, x, weight, bias, 1e-5), 1e-9)
    assert norm.batch_backward_accepts(grad, x, weight, mean, rstd)
    gradients = norm.batch_norm_backward(grad, x, weight, mean, rstd)
    close(gradients, plain.batch_norm_backward(backend.CPU, grad, x, weight, mean, rstd), 1e-9)


def test_a_large_mean_does_not_spoil_the_variance() -> None:
    x = (np.random.default_rng(0).standard_normal((2, 1, 64)) + 1e4).astype("float32")
    _, _, var, _ = norm.batch_norm(x, None, None, 0.0)
    np.testing.assert_allclose(var, x.astype("float64").var(axis=(0, 2)), rtol=1e-4)


def test_weights_of_another_type_are_declined() -> None:
    x = numbers(2, 3, dtype="float32")
    assert not norm.layer_accepts(x, numbers(3), None, 1e-5)
    assert not norm.layer_accepts(x[:, ::2], None, None, 1e-5)
