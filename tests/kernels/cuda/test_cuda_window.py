"""The CUDA kernels for windows, embeddings and dropout in the simulator against the plain formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accelgrad.arrays import backend
from accelgrad.kernels import plain
from accelgrad.kernels.cuda import dropout, embedding, window

GEOMETRIES: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((1, 1, 3, 3), {"kernel": 1}),
    ((1, 2, 5, 4), {"kernel": (2, 3), "stride": (2, 1), "padding": (1, 0)}),
    ((1, 1, 6, 5), {"kernel": 2, "stride": 2, "padding": 1, "dilation": 2}),
]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize(("shape", "options"), GEOMETRIES)
def test_columns_of_an_image_and_the_way_back(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    x = numbers(*shape)
    columns = window.im2col(x, **options)
    np.testing.assert_array_equal(columns, plain.im2col(backend.CPU, x, **options))
    grad = numbers(*columns.shape, seed=1)
    np.testing.assert_allclose(
        window.col2im(grad, shape, **options), plain.col2im(backend.CPU, grad, shape, **options)
    )


@pytest.mark.parametrize(
    ("shape", "options"), [*GEOMETRIES, ((1, 1, 7, 7), {"kernel": 3, "stride": 2, "ceil_mode": True})]
)
def test_largest_of_every_window_and_its_gradient(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    x = np.random.default_rng(0).integers(0, 4, shape).astype("float64")  # with ties
    y, places = window.max_pool2d(x, **options)
    expected, expected_places = plain.max_pool2d(backend.CPU, x, **options)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(places, expected_places)
    grad = numbers(*y.shape, seed=2)
    for given in (None, options):
        assert window.pool_backward_accepts(grad, places, shape, given)
        np.testing.assert_allclose(
            window.max_pool2d_backward(grad, places, shape, given),
            plain.max_pool2d_backward(backend.CPU, grad, places, shape),
        )


def test_nan_is_the_largest_of_its_window() -> None:
    x = np.array([[[[1.0, np.nan], [3.0, 2.0]]]], "float32")
    y, places = window.max_pool2d(x, 2)
    assert np.isnan(y).all() and places.item() == 1


@pytest.mark.parametrize(("n", "width", "rows"), [(1, 1, 1), (7, 5, 3), (6, 33, 9)])
def test_gradient_of_an_embedding(n: int, width: int, rows: int) -> None:
    grad, indices = numbers(n, width), np.random.default_rng(n).integers(0, rows, n)
    assert embedding.accepts(grad, indices, rows)
    np.testing.assert_allclose(
        embedding.embedding_backward(grad, indices, rows),
        plain.embedding_backward(backend.CPU, grad, indices, rows),
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # unsigned products run over by intention
@pytest.mark.parametrize("drawn_before", [0, 1, 2, 5, 7, 8])
@pytest.mark.parametrize("n", [1, 6, 37, 263])
def test_masks_are_those_that_the_host_would_draw(n: int, drawn_before: int) -> None:
    on_host, on_card = (np.random.Generator(np.random.Philox(key=[5, 9])) for _ in range(2))
    for generator in (on_host, on_card):
        generator.integers(0, 2**32, drawn_before, dtype="uint32")
    expected = plain.keep_mask(backend.CPU, np.zeros(1), (n,), 0.3, on_host)
    assert dropout.accepts(np.zeros(1), (n,), 0.3, on_card)
    mask = dropout.keep_mask(np.zeros(1), (n,), 0.3, on_card)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, expected)
    for _ in range(3):  # and both generators go on alike, in halves and in whole numbers
        assert on_host.integers(0, 2**32, dtype="uint32") == on_card.integers(0, 2**32, dtype="uint32")
        assert on_host.random() == on_card.random()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_counter_carries_over() -> None:
    counter = np.array([2**64 - 2, 2**64 - 1, 0, 0], np.uint64)
    on_host, on_card = (np.random.Generator(np.random.Philox(key=[1, 2], counter=counter)) for _ in range(2))
    expected = plain.keep_mask(backend.CPU, np.zeros(1), (40,), 0.5, on_host)
    np.testing.assert_array_equal(dropout.keep_mask(np.zeros(1), (40,), 0.5, on_card), expected)
