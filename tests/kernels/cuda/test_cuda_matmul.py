"""The CUDA matrix product in the simulator: odd sizes, transposed operands, stacks of matrices."""

from __future__ import annotations

import numpy as np
import pytest

from accelgrad.kernels.cuda.matmul import accepts, matmul


def numbers(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("m", "k", "n"), [(1, 1, 1), (1, 5, 3), (16, 4, 16), (17, 9, 15), (33, 8, 5), (3, 31, 20), (18, 1, 2)]
)
def test_product_of_two_matrices(m: int, k: int, n: int, dtype: str) -> None:
    a, b = numbers(m, k, dtype=dtype), numbers(k, n, dtype=dtype)
    assert accepts(a, b)
    np.testing.assert_allclose(matmul(a, b), a @ b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("first", ["rows", "columns"])
@pytest.mark.parametrize("second", ["rows", "columns"])
def test_transposed_operands_are_read_where_they_lie(first: str, second: str) -> None:
    a, b = numbers(18, 7), numbers(7, 21)
    left = a if first == "rows" else np.asfortranarray(a)
    right = b if second == "rows" else np.asfortranarray(b)
    np.testing.assert_allclose(matmul(left, right), a @ b, rtol=1e-5, atol=1e-5)


def test_rows_with_a_gap_between_them() -> None:
    a, b = numbers(9, 12)[:, 2:9], numbers(20, 5).T[:, 3:10].T
    np.testing.assert_allclose(matmul(a, b), a @ b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("left", "right"),
    [((3, 4, 5), (3, 5, 6)), ((3, 4, 5), (5, 6)), ((2, 1, 4, 5), (3, 5, 6)), ((4, 5), (2, 2, 5, 3))],
)
def test_stacks_of_matrices_are_broadcast(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = numbers(*left), numbers(*right)
    np.testing.assert_allclose(matmul(a, b), a @ b, rtol=1e-5, atol=1e-5)


def test_heads_of_attention_need_no_copy() -> None:
    x = numbers(2, 5, 3, 4).transpose(0, 2, 1, 3)  # (batch, heads, length, width), as a view
    np.testing.assert_allclose(matmul(x, x.swapaxes(-1, -2)), x @ x.swapaxes(-1, -2), rtol=1e-5, atol=1e-5)


def test_what_the_kernel_cannot_read_is_declined() -> None:
    a, b = numbers(6, 8), numbers(8, 4)
    assert not accepts(a, b.astype("float64"))
    assert not accepts(a.astype("int64"), b.astype("int64"))
    assert not accepts(a[0], b)
    assert not accepts(a[::-1], b)
    assert matmul(numbers(6, 16)[::2, ::2], b) is NotImplemented
