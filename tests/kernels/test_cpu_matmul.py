"""The matrix product against NumPy's: awkward sizes, transposed, strided and batched operands, vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accelgrad import kernels


def numbers(shape: tuple[int, ...], dtype: Any, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def check(xp: Any, took: list[str], a: np.ndarray, b: np.ndarray) -> None:
    count = len(took)
    found = xp.matmul(a, b)
    wanted = np.matmul(a.astype(np.float64), b.astype(np.float64))
    assert took[count:] == ["matmul"]
    assert found.dtype == a.dtype and found.shape == wanted.shape
    eps = np.finfo(a.dtype).eps
    np.testing.assert_allclose(
        found, wanted, rtol=0, atol=8 * eps * np.sqrt(a.shape[-1]) * (1 + abs(wanted).max())
    )


@pytest.mark.parametrize(
    "m, n, k",
    [
        (1, 1, 1),
        (2, 3, 4),
        (12, 32, 16),
        (13, 33, 17),
        (31, 32, 33),
        (64, 64, 64),
        (200, 50, 600),
        (7, 2100, 33),
        (1025, 31, 9),
        (31, 1023, 257),
    ],
)
@pytest.mark.parametrize("layout", ["plain", "a transposed", "b transposed", "both transposed"])
def test_a_product_equals_numpys(m, n, k, layout, dtype, threads, xp, took):
    a, b = numbers((m, k), dtype, 1), numbers((k, n), dtype, 2)
    if layout in ("a transposed", "both transposed"):
        a = np.asfortranarray(a)
    if layout in ("b transposed", "both transposed"):
        b = np.asfortranarray(b)
    check(xp, took, a, b)


@pytest.mark.parametrize("size", [1, 31, 33, 1025, 4097])
def test_a_matrix_times_a_vector_equals_numpys(size, dtype, threads, xp, took):
    a, x = numbers((size, 65), dtype, 1), numbers((65,), dtype, 2)
    check(xp, took, a, x)
    check(xp, took, x, a.T)
    check(xp, took, np.asfortranarray(a), x)
    check(xp, took, a[:, ::2], x[::2])
    check(xp, took, x, x)


def test_strided_operands_are_read_where_they_lie(dtype, threads, xp, took):
    a, b = numbers((80, 90), dtype, 1), numbers((90, 100), dtype, 2)
    check(xp, took, a[::2, ::-3], b[::3, 1::2])
    check(xp, took, a[:, 5:50], b[5:50])
    check(xp, took, np.broadcast_to(a[0], (80, 90)), b)


def test_leading_dimensions_are_broadcast(dtype, threads, xp, took):
    a, b = numbers((3, 1, 20, 30), dtype, 1), numbers((4, 30, 40), dtype, 2)
    check(xp, took, a, b)
    check(xp, took, a, b[0])
    check(xp, took, a[0, 0], b)
    check(xp, took, a, np.broadcast_to(b[:1], b.shape))
    check(xp, took, a[0, 0, 0], b)
    check(xp, took, a, b[0, :, 0])


def test_nan_and_infinity_reach_only_their_own_row(dtype, threads, xp):
    a, b = numbers((40, 50), dtype, 1), numbers((50, 60), dtype, 2)
    a[3, 4], a[7, 8] = np.nan, np.inf
    found = xp.matmul(a, b)
    assert np.isnan(found[3]).all() and np.isinf(found[7]).all()
    assert np.isfinite(np.delete(found, [3, 7], axis=0)).all()


def test_products_in_several_python_threads_at_once_are_right(xp):
    import threading

    a = numbers((300, 300), np.float32, 1)
    wanted = np.matmul(a, a)
    results: list[np.ndarray] = []
    workers = [threading.Thread(target=lambda: results.append(xp.matmul(a, a))) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 6
    for result in results:
        np.testing.assert_allclose(result, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "a, b",
    [
        (np.ones((3, 4)), np.ones((4, 5), np.float32)),
        (np.ones((3, 4), int), np.ones((4, 5), int)),
        (np.ones((0, 4)), np.ones((4, 5))),
        (np.ones((3, 0)), np.ones((0, 5))),
    ],
    ids=["two dtypes", "integers", "no rows", "nothing to sum"],
)
def test_other_products_are_left_to_numpy(a, b, xp, took):
    np.testing.assert_array_equal(xp.matmul(a, b), np.matmul(a, b))
    assert took == []


def test_a_wrong_shape_gets_numpys_error(xp):
    with pytest.raises(ValueError, match="mismatch in its core dimension"):
        xp.matmul(np.ones((3, 4), np.float32), np.ones((5, 6), np.float32))


def test_the_mode_auto_leaves_products_to_the_blas(took):
    from accelgrad import backend

    with kernels.use("auto"):
        backend.CPU.matmul(np.ones((300, 300), np.float32), np.ones((300, 300), np.float32))
    assert took == []
