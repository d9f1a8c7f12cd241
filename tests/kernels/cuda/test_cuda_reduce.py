"""The CUDA reductions in the simulator against NumPy: any axes, long rows in parts, NaN, places of
extremes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from accelgrad.kernels.cuda import reduce

NAMES = {"sum": reduce.sum_, "mean": reduce.mean, "prod": reduce.prod, "max": reduce.max_, "min": reduce.min_}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few threads and short parts, so that the simulator meets every path in a moment."""
    monkeypatch.setattr(reduce, "THREADS", 64)
    monkeypatch.setattr(reduce, "LEAST_PART", 300)
    monkeypatch.setattr(reduce, "ENOUGH_BLOCKS", 4)


def numbers(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(sum(shape)).uniform(0.5, 1.5, shape).astype(dtype)


def check(name: str, x: np.ndarray, axis: Any, keepdims: bool = False) -> None:
    assert reduce.accepts(x, axis, keepdims)
    result = NAMES[name](x, axis, keepdims)
    expected = getattr(np, name)(x, axis=axis, keepdims=keepdims)
    assert result.shape == expected.shape and result.dtype == x.dtype
    np.testing.assert_allclose(result, expected, rtol=3e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "axis"), [((3, 33), 1), ((33, 3), 0), ((2, 5, 3), (0, 2)), ((7,), None)])
def test_every_reduction_over_rows_columns_and_both(name: str, shape: Any, axis: Any) -> None:
    check(name, numbers(*shape, dtype="float64" if name == "mean" else "float32"), axis)


@pytest.mark.parametrize("n", [1, 31, 33, 257, 1025])
def test_rows_of_awkward_lengths(n: int) -> None:
    check("sum", numbers(n), None)
    check("max", numbers(1, n), 1, True)


def test_a_long_row_is_summed_in_parts() -> None:
    check("sum", numbers(1300), 0)
    check("mean", numbers(2, 650), 1)


def test_long_columns_are_summed_in_parts() -> None:
    check("mean", numbers(600, 5), 0)


def test_scattered_axes_are_summed_in_parts() -> None:
    check("sum", numbers(4, 2, 310), (0, 2))


@pytest.mark.parametrize("axis", [0, 3, (0, 1), (1, 2), (0, 3), (1, 3), None])
def test_any_axes_of_four(axis: Any) -> None:
    check("sum", numbers(2, 3, 2, 3), axis, True)


@pytest.mark.parametrize("axis", [0, 1, (0, 1), None])
def test_arrays_that_are_not_in_index_order(axis: Any) -> None:
    check("sum", numbers(3, 6).T, axis)
    check("max", numbers(4, 12)[::2, 3::3], axis)


def test_rows_that_start_anywhere_are_read_without_wide_loads() -> None:
    check("sum", numbers(130)[1:], 0)


def test_nan_wins_over_every_extreme() -> None:
    x = numbers(2, 70)
    x[1, 40] = np.nan
    assert np.isnan(reduce.max_(x, 1)[1]) and np.isnan(reduce.min_(x, 1)[1])
    assert np.isfinite(reduce.max_(x, 1)[0])


def test_extremes_of_infinities_only() -> None:
    x = np.full((1, 5), -np.inf, "float32")
    assert reduce.max_(x, 1)[0] == -np.inf
    assert reduce.min_(-x, 1)[0] == np.inf


@pytest.mark.parametrize("ord", [1, 2, math.inf])
@pytest.mark.parametrize(("shape", "axis"), [((700,), None), ((3, 40), 1), ((40, 3), 0)])
def test_norms(ord: float, shape: Any, axis: Any) -> None:
    x = numbers(*shape) - 1
    result = reduce.vector_norm(x, ord, axis)
    np.testing.assert_allclose(result, np.linalg.norm(x, ord, axis), rtol=1e-5)


@pytest.mark.parametrize("n", [1, 33, 257, 1300])
def test_the_first_of_equal_extremes_is_found(n: int) -> None:
    x = np.random.default_rng(n).integers(0, 5, (2, n)).astype("float32")
    for axis in (None, 1):
        np.testing.assert_array_equal(reduce.argmax(x, axis), x.argmax(axis))
        np.testing.assert_array_equal(reduce.argmin(x, axis), x.argmin(axis))
    assert reduce.argmax(x, 1, True).shape == (2, 1)


def test_the_place_along_a_middle_axis() -> None:
    x = np.random.default_rng(0).integers(0, 3, (2, 5, 2)).astype("float64")
    np.testing.assert_array_equal(reduce.argmax(x, 1), x.argmax(1))
    np.testing.assert_array_equal(reduce.argmin(x, -2, True), x.argmin(-2, keepdims=True))


def test_the_first_nan_is_the_extreme() -> None:
    x = numbers(400)
    x[[200, 350]] = np.nan
    assert reduce.argmax(x) == 200 and reduce.argmin(x) == 200


def test_integers_and_empty_arrays_are_left_to_the_array_module() -> None:
    assert not reduce.accepts(np.ones(3, "int64"))
    assert not reduce.accepts(np.ones((0, 3), "float32"), 1)
    assert not reduce.accepts(np.ones(3, "float32"), dtype="float64")
    assert not reduce.accepts(np.ones(3, "float32")[::-1])


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((3, 33), 1),
        ((33, 3), 0),
        ((2, 5, 3), (0, 2)),
        ((7,), None),
        ((1300,), None),
        ((600, 5), 0),
        ((4, 2, 310), (0, 2)),
    ],
)
def test_variances_of_rows_columns_scattered_axes_and_parts(shape: Any, axis: Any, ddof: int) -> None:
    x = numbers(*shape)
    assert reduce.var_accepts(x, axis, ddof=ddof)
    result = reduce.var(x, axis, ddof=ddof, keepdims=True)
    expected = np.var(x.astype("float64"), axis=axis, ddof=ddof, keepdims=True)
    assert result.shape == expected.shape and result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=3e-5)


def test_a_variance_far_from_zero_keeps_its_digits_and_spreads_nan() -> None:
    x = numbers(2, 130, dtype="float64") + 1e6
    np.testing.assert_allclose(reduce.var(x, 1), np.var(x, axis=1), rtol=1e-8)
    x[1, 7] = np.nan
    assert np.isfinite(reduce.var(x, 1)[0]) and np.isnan(reduce.var(x, 1)[1])


def test_a_variance_without_freedom_is_left_to_the_array_module() -> None:
    assert not reduce.var_accepts(numbers(1, 3), 0, ddof=1)
    assert not reduce.var_accepts(np.ones((0, 3), "float32"), 0)
