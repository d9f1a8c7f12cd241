"""LSTM and GRU layers on the card in the simulator against their formulas: one launch, and step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accelgrad.arrays import backend
from accelgrad.kernels import plain
from accelgrad.kernels.cuda import recurrent

BATCHES = {
    "equal lengths": [3, 3, 3],
    "shrinking": [5, 3, 1],
    "one step": [2],
}
ROUTES = {
    "a sample a block": {},
    "four samples a block": {"MANY": 1},
    "step by step": {"WIDEST": 0},
}


def steps_of(sizes: list[int], reverse: bool) -> list[tuple[int, int]]:
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    steps = list(zip(starts, sizes, strict=True))
    return steps[::-1] if reverse else steps


def numbers(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def agree(found: Any, wanted: Any) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.fixture(params=ROUTES.values(), ids=ROUTES)
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way that the kernels choose by the width of the state and the number of samples."""
    for name, value in request.param.items():
        monkeypatch.setattr(recurrent, name, value)


@pytest.mark.parametrize("width", [1, 11])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("sizes", BATCHES.values(), ids=BATCHES)
def test_an_lstm_equals_its_formula(sizes: list[int], reverse: bool, width: int, route: None) -> None:
    steps, rows, n = steps_of(sizes, reverse), sum(sizes), sizes[0]
    gates, w_hh = numbers(rows, 4 * width, seed=1), numbers(4 * width, width, seed=2)
    h0, c0 = numbers(n, width, seed=3), numbers(n, width, seed=4)
    ours, theirs = gates.copy(), gates.copy()
    assert recurrent.accepts(ours, h0, c0, w_hh, steps)
    found = recurrent.lstm_steps(ours, h0, c0, w_hh, steps)
    wanted = plain.lstm_steps(backend.CPU, theirs, h0, c0, w_hh, steps)
    agree((*found, ours), (*wanted, theirs))
    grad_y, grad_h, grad_c = (
        numbers(rows, width, seed=5),
        numbers(n, width, seed=6),
        numbers(n, width, seed=7),
    )
    inputs = grad_y, grad_h, grad_c, theirs, wanted[1], wanted[2], c0, w_hh
    copies = [one.copy() for one in inputs]
    assert recurrent.accepts(*inputs, steps)
    agree(
        recurrent.lstm_steps_backward(*inputs, steps), plain.lstm_steps_backward(backend.CPU, *inputs, steps)
    )
    for one, copy in zip(inputs, copies, strict=True):
        np.testing.assert_array_equal(one, copy)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("width", [1, 11])
@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("sizes", BATCHES.values(), ids=BATCHES)
def test_a_gru_equals_its_formula(
    sizes: list[int], reverse: bool, width: int, biased: bool, route: None
) -> None:
    steps, rows, n = steps_of(sizes, reverse), sum(sizes), sizes[0]
    gates, w_hh = numbers(rows, 3 * width, seed=1), numbers(3 * width, width, seed=2)
    h0, b_hh = numbers(n, width, seed=3), numbers(3 * width, seed=4) if biased else None
    ours, theirs = gates.copy(), gates.copy()
    assert recurrent.accepts(ours, h0, w_hh, b_hh, steps)
    found = recurrent.gru_steps(ours, h0, w_hh, b_hh, steps)
    wanted = plain.gru_steps(backend.CPU, theirs, h0, w_hh, b_hh, steps)
    agree((*found, ours), (*wanted, theirs))
    grad_y, grad_h = numbers(rows, width, seed=5), numbers(n, width, seed=6)
    inputs = grad_y, grad_h, theirs, wanted[1], wanted[0], h0, w_hh
    copies = [one.copy() for one in inputs]
    assert recurrent.accepts(*inputs, steps)
    agree(recurrent.gru_steps_backward(*inputs, steps), plain.gru_steps_backward(backend.CPU, *inputs, steps))
    for one, copy in zip(inputs, copies, strict=True):
        np.testing.assert_array_equal(one, copy)


def test_gates_far_from_zero_are_saturated() -> None:
    gates = np.array([[80, -80, 80, -80]], "float32")
    zeros = np.zeros((1, 1), "float32")
    y, cells, *_ = recurrent.lstm_steps(gates, zeros, zeros, np.zeros((4, 1), "float32"), [(0, 1)])
    np.testing.assert_allclose(gates, [[1, 0, 1, 0]], atol=1e-30)
    assert cells.item() == 1 and y.item() < 1e-30
