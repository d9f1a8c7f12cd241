"""The matrix product against NumPy's: awkward sizes, transposed, strided and batched operands, vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accelgrad import kernels
from accelgrad.arrays import backend
from accelgrad.kernels.cpu import matmul


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


@pytest.mark.parametrize("narrow", [2, 3, 15])
def test_a_narrow_result_is_computed_as_its_transpose(narrow, dtype, threads, xp, took):
    a, b = numbers((100, 70), dtype, 1), numbers((70, narrow), dtype, 2)
    check(xp, took, a, b)
    assert xp.matmul(a, b).flags.c_contiguous


@pytest.mark.parametrize("ours", [True, False])
def test_the_mode_auto_takes_our_product_where_it_outruns_the_blas(ours, took, monkeypatch):
    monkeypatch.setattr(matmul, "outruns_blas", lambda: ours)
    large, small = np.ones((300, 300), np.float32), np.ones((60, 60), np.float32)
    with kernels.use("auto"):
        backend.CPU.matmul(large, large)
        backend.CPU.matmul(large[0], large)
        backend.CPU.matmul(small, small)
    assert took == ["matmul"] * ours


@pytest.mark.parametrize(
    "core, ours", [(b"Haswell", True), (b"SkylakeX", False), (b"Zen", True), (None, False)]
)
def test_our_product_is_taken_for_faster_where_openblas_leaves_vectors_unused(core, ours, monkeypatch):
    class Library:
        def __init__(self, file):
            if core is not None:
                self.scipy_openblas_get_corename64_ = Answer()

    class Answer:
        def __call__(self):
            return core

    monkeypatch.setattr(matmul, "WIDE", True)
    monkeypatch.setattr(matmul.ctypes, "CDLL", Library)
    assert matmul.outruns_blas.__wrapped__() is ours
    monkeypatch.setattr(matmul, "WIDE", False)
    assert matmul.outruns_blas.__wrapped__() is False


@pytest.mark.parametrize("shape", [(7, 40), (3, 5, 40), (2, 3, 5, 40)])
@pytest.mark.parametrize("biased", [True, False])
def test_a_linear_layer_equals_its_formula(shape, biased, dtype, threads, xp, took):
    x, weight = numbers(shape, dtype, 1), numbers((33, 40), dtype, 2)
    bias = numbers((33,), dtype, 3) if biased else None
    found = xp.linear(x, weight, bias)
    assert took == ["linear"]
    assert found.dtype == dtype and found.shape == (*shape[:-1], 33) and found.flags.c_contiguous
    wanted = np.matmul(x, weight.T) + (0 if bias is None else bias)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=200 * np.finfo(dtype).eps)


def test_linear_layers_of_other_shapes_are_left_to_the_formula(xp, took):
    x, weight = numbers((7, 40), np.float32, 1), numbers((33, 40), np.float32, 2)
    for arguments in [(x[0], weight), (x, weight[0]), (x, weight, np.ones((1, 33), np.float32))]:
        xp.linear(*arguments)
    assert "linear" not in took
