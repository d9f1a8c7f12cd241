"""The loops over time of LSTM and GRU against their formulas: equal and shrinking batches, both ways."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from accelgrad.kernels.cpu.compile import jit
from accelgrad.kernels.cpu.elementary import tanh

BATCHES = {
    "equal lengths": [5, 5, 5, 5],
    "shrinking": [7, 7, 4, 2, 1],
    "one sample": [1, 1, 1],
    "one step": [14],
    "many samples": [29, 13, 12],
}


def steps_of(sizes: list[int], reverse: bool) -> list[tuple[int, int]]:
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    steps = list(zip(starts, sizes, strict=True))
    return steps[::-1] if reverse else steps


def numbers(shape: tuple[int, ...], dtype: Any, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def agree(found: Any, wanted: Any, dtype: Any) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == dtype and one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=500 * np.finfo(dtype).eps)


@pytest.mark.parametrize("width", [1, 16, 33])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("sizes", BATCHES.values(), ids=BATCHES)
def test_an_lstm_equals_its_formula(sizes, reverse, width, dtype, threads, xp, formula, took):
    steps, rows, n = steps_of(sizes, reverse), sum(sizes), sizes[0]
    gates, w_hh = numbers((rows, 4 * width), dtype, 1), numbers((4 * width, width), dtype, 2) * dtype(0.3)
    h0, c0 = numbers((n, width), dtype, 3), numbers((n, width), dtype, 4)
    ours, theirs = gates.copy(), gates.copy()
    found = xp.lstm_steps(ours, h0, c0, w_hh, steps)
    wanted = formula.lstm_steps(theirs, h0, c0, w_hh, steps)
    agree((*found, ours), (*wanted, theirs), dtype)

    grad_y, grad_h, grad_c = (numbers(one.shape, dtype, 5) for one in (found[0], h0, c0))
    inputs = grad_y, grad_h, grad_c, theirs, wanted[1], wanted[2], c0, w_hh
    copies = [one.copy() for one in inputs]
    agree(xp.lstm_steps_backward(*inputs, steps), formula.lstm_steps_backward(*inputs, steps), dtype)
    for one, copy in zip(inputs, copies, strict=True):
        np.testing.assert_array_equal(one, copy)
    assert took == ["lstm_steps", "lstm_steps_backward"]


@pytest.mark.parametrize("width", [1, 16, 33])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("biased", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("sizes", BATCHES.values(), ids=BATCHES)
def test_a_gru_equals_its_formula(sizes, biased, reverse, width, dtype, threads, xp, formula, took):
    steps, rows, n = steps_of(sizes, reverse), sum(sizes), sizes[0]
    gates, w_hh = numbers((rows, 3 * width), dtype, 1), numbers((3 * width, width), dtype, 2) * dtype(0.3)
    h0, bias = numbers((n, width), dtype, 3), numbers((3 * width,), dtype, 4) if biased else None
    ours, theirs = gates.copy(), gates.copy()
    found = xp.gru_steps(ours, h0, w_hh, bias, steps)
    wanted = formula.gru_steps(theirs, h0, w_hh, bias, steps)
    agree((*found, ours), (*wanted, theirs), dtype)

    grad_y, grad_h = numbers(found[0].shape, dtype, 5), numbers(h0.shape, dtype, 6)
    inputs = grad_y, grad_h, theirs, wanted[1], wanted[0], h0, w_hh
    copies = [one.copy() for one in inputs]
    agree(xp.gru_steps_backward(*inputs, steps), formula.gru_steps_backward(*inputs, steps), dtype)
    for one, copy in zip(inputs, copies, strict=True):
        np.testing.assert_array_equal(one, copy)
    assert took == ["gru_steps", "gru_steps_backward"]


def test_nan_stays_in_its_own_sample(dtype, threads, xp):
    steps = steps_of([6, 6, 6], False)
    gates, w_hh = numbers((18, 16), dtype, 1), numbers((16, 4), dtype, 2)
    gates[2, 5] = np.nan
    h0 = np.zeros((6, 4), dtype)
    y = xp.lstm_steps(gates, h0, h0, w_hh, steps)[0].reshape(3, 6, 4)
    assert np.isnan(y[1:, 2]).all() and np.isfinite(np.delete(y, 2, axis=1)).all()


def test_the_number_of_threads_does_not_matter(dtype, xp, monkeypatch):
    from accelgrad import kernels
    from accelgrad.kernels.cpu import recurrent

    monkeypatch.setattr(recurrent, "PARALLEL", 1)
    steps, results = steps_of([7, 7, 3, 2], False), []
    for threads in (1, 2, 3):
        kernels.set_num_threads(threads)
        gates, w_hh = numbers((19, 64), dtype, 1), numbers((64, 16), dtype, 2)
        h0 = numbers((7, 16), dtype, 3)
        y, cells, tanhs, h, c = xp.lstm_steps(gates, h0, h0, w_hh, steps)
        results.append(xp.lstm_steps_backward(y, h, c, gates, cells, tanhs, h0, w_hh, steps))
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@jit()
def tanh_all(x, y):
    for i in range(x.size):
        y[i] = tanh(x[i])


def test_the_vectorised_tanh_is_right_to_the_last_places(dtype):
    x = np.concatenate([np.linspace(-20, 20, 4001), np.geomspace(1e-30, 100, 500), [0, np.inf, -np.inf]])
    x = x.astype(dtype)
    y = np.empty_like(x)
    tanh_all(x, y)
    wanted = np.array([math.tanh(value) for value in x.tolist()])
    assert abs(y / np.where(wanted == 0, 1, wanted) - (wanted != 0)).max() < 4 * np.finfo(dtype).eps
    tanh_all(np.full(3, np.nan, dtype), y)
    assert np.isnan(y[:3]).all()
