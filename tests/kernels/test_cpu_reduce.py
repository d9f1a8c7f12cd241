"""Reductions against NumPy and the plain formulas: awkward sizes, strides, NaN and infinities, one and two
threads."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from accelgrad import kernels

NAMES = ["sum", "mean", "prod", "max", "min", "var", "logsumexp", "vector_norm"]
SIZES = [1, 31, 32, 33, 1023, 1024, 1025, 4097]


def numbers(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    """Near 1, so that long products stay finite."""
    return (1 + 0.05 * np.random.default_rng(seed).normal(size=shape)).astype(dtype)


def scale(name: str, x: np.ndarray) -> float:
    return float(x.size) if name in ("sum", "prod") else 1.0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES)
def test_a_reduction_of_a_vector_equals_its_formula(name, size, dtype, threads, agree):
    x = numbers((size,), dtype)
    agree(name, x, scale=scale(name, x))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 33, 4), (1, 31, 1), (40, 1030)])
def test_a_reduction_over_any_axes_equals_its_formula(name, shape, dtype, threads, agree):
    x = numbers(shape, dtype)
    for count in range(1, len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), count):
            agree(name, x, axis=axes, keepdims=True, scale=scale(name, x))
            agree(name, x, axis=axes[0] - len(shape), scale=scale(name, x))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.T,
        lambda x: x[::2, ::-1],
        lambda x: x[:, 1::3],
        lambda x: np.broadcast_to(x, (3, *x.shape)),
        lambda x: x[:, None].swapaxes(0, 2),
    ],
    ids=["transposed", "reversed", "every third", "broadcast", "swapped"],
)
def test_a_reduction_of_a_strided_view_equals_its_formula(name, view, dtype, threads, agree):
    x = view(numbers((33, 65), dtype))
    for axis in (None, 0, 1, (0, 1)):
        agree(name, x, axis=axis, scale=scale(name, x))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_travel_as_in_the_formula(name, value, dtype, threads, agree):
    x = numbers((37, 53), dtype)
    x[17, 5] = value
    for axis in (None, 0, 1):
        agree(name, x, axis=axis, scale=scale(name, x))


def test_logsumexp_of_minus_infinity_alone_is_minus_infinity(xp, took):
    x = np.full((3, 40), -np.inf, np.float32)
    assert (xp.logsumexp(x, axis=1) == -np.inf).all()
    assert took == ["logsumexp"]


@pytest.mark.parametrize("order", [1, 2, np.inf, -np.inf])
def test_vector_norm_has_four_orders(order, dtype, agree):
    agree("vector_norm", numbers((20, 30), dtype) - dtype(1), order, axis=0)


def test_another_order_of_vector_norm_is_left_to_the_formula(xp, formula, took):
    x = numbers((20,), np.float64)
    assert xp.vector_norm(x, 3) == pytest.approx(formula.vector_norm(x, 3))
    assert "vector_norm" not in took


def test_a_long_float32_sum_is_right_to_the_last_bits(xp, took):
    x = np.full(3_000_000, 0.1, np.float32)
    wanted = np.float32(float(np.float32(0.1)) * x.size)
    assert xp.sum(x) == wanted
    assert xp.sum(x.reshape(-1, 3), axis=0).tolist() == [np.float32(float(np.float32(0.1)) * 1_000_000)] * 3
    assert took == ["sum", "sum"]


def test_the_variance_of_numbers_far_from_zero_is_not_lost(xp):
    x = (1e6 + np.random.default_rng(0).normal(size=5000)).astype(np.float32)
    assert float(xp.var(x)) == pytest.approx(float(x.astype(np.float64).var()), rel=1e-5)


def test_a_full_reduction_gives_a_scalar_as_numpy_does(xp):
    assert isinstance(xp.sum(np.ones(40, np.float32)), np.float32)


@pytest.mark.parametrize(
    "call",
    [
        lambda xp: xp.sum(np.arange(40)),
        lambda xp: xp.sum(np.zeros((0, 3), np.float32), axis=0),
        lambda xp: xp.sum(np.ones(40, np.float16)),
        lambda xp: xp.sum(np.ones(40, np.float32), dtype=np.float64),
        lambda xp: xp.sum(np.ones(40, ">f4")),
        lambda xp: xp.var(np.ones(1, np.float32), ddof=1),
    ],
    ids=["integers", "nothing", "float16", "dtype=", "other byte order", "no degrees of freedom"],
)
@pytest.mark.filterwarnings("ignore:Degrees of freedom")
def test_what_the_kernel_has_no_rule_for_is_numpys(call, xp, took):
    result = call(xp)
    assert took == []
    with kernels.use("off"):
        np.testing.assert_array_equal(result, call(xp))


def test_a_wrong_axis_gets_numpys_error(xp):
    with pytest.raises(np.exceptions.AxisError, match="axis 2 is out of bounds"):
        xp.sum(np.ones((3, 4), np.float32), axis=2)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("size", SIZES)
def test_arg_reductions_find_the_first_extreme(name, size, dtype, threads, agree):
    x = np.random.default_rng(0).integers(0, 50, size).astype(dtype)
    agree(name, x)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_arg_reductions_go_over_any_axis_and_strides(name, dtype, threads, agree):
    x = np.random.default_rng(0).integers(0, 9, (33, 40, 5)).astype(dtype)
    x[3, 7, 2] = np.nan
    for view in (x, x.T, x[::2, ::-1], np.broadcast_to(x[0], (3, 40, 5))):
        for axis in (0, 1, 2, -1):
            agree(name, view, axis=axis)
    agree(name, x, keepdims=True)
    agree(name, np.full((4, 300), -np.inf, dtype), axis=1)
