"""float32 rounded to bfloat16 by the kernel, beside the conversion of ml_dtypes, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import accelgrad

BFLOAT16 = accelgrad.bfloat16.numpy
LOWER_HALVES = [0x0000, 0x0001, 0x7FFF, 0x8000, 0x8001, 0xFFFF]


def rounded(xp: Any, took: list[str], x: np.ndarray) -> np.ndarray:
    before = x.copy()
    y = xp.rounded(x, BFLOAT16)
    assert took == ["rounded"], "no kernel took it"
    np.testing.assert_array_equal(x.view(np.uint32), before.view(np.uint32))
    assert y.dtype == BFLOAT16 and y.shape == x.shape and y.base is None
    return y


@pytest.mark.parametrize("lower", LOWER_HALVES)
def test_every_upper_half_is_rounded_to_the_nearest_even(
    lower: int, threads: int, xp: Any, took: Any
) -> None:
    x = ((np.arange(1 << 16, dtype=np.uint32) << 16) | np.uint32(lower)).view(np.float32)
    y, wanted = rounded(xp, took, x), x.astype(BFLOAT16)
    missing = np.isnan(x)
    np.testing.assert_array_equal(np.isnan(y.astype(np.float32)), missing)
    np.testing.assert_array_equal(y.view(np.uint16)[~missing], wanted.view(np.uint16)[~missing])


@pytest.mark.parametrize("size", [1, 31, 32, 33, 1023, 1024, 1025, 4097, (1 << 19) + 3])
def test_every_size_is_rounded(size: int, threads: int, xp: Any, took: Any) -> None:
    x = np.random.default_rng(size).standard_normal(size, dtype=np.float32)
    np.testing.assert_array_equal(rounded(xp, took, x).view(np.uint16), x.astype(BFLOAT16).view(np.uint16))


def test_other_types_and_layouts_are_left_to_the_formula(xp: Any, took: Any) -> None:
    x = np.ones((4, 6), np.float32)
    for other, kind in (
        (x.T, BFLOAT16),
        (x, np.dtype("float16")),
        (x.astype(np.float64), BFLOAT16),
        (x[:0], BFLOAT16),
    ):
        y = xp.rounded(other, kind)
        assert y.dtype == kind and y.shape == other.shape
    assert not took
