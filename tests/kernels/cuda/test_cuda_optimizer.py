"""The CUDA steps of the optimizers in the simulator against the plain formulas, all parameters at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from accelgrad.kernels.cuda import optimizer

from accelgrad import backend
from accelgrad.kernels import plain

SHAPES = [(3,), (1,), (5, 9), (130,)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizer, "CHUNK", 50)
    monkeypatch.setattr(optimizer, "THREADS", 32)
    monkeypatch.setattr(optimizer.SGD, "_loaded", {})
    monkeypatch.setattr(optimizer.ADAM, "_loaded", {})
    optimizer.blocks_of.cache_clear()


def arrays(seed: int, dtype: str, positive: bool = False) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    made = [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]
    return [abs(one) for one in made] if positive else made


def copies(group: list[Any]) -> list[Any]:
    return [None if one is None else one.copy() for one in group]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_decay": 0.1, "maximize": True},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.2, "weight_decay": 0.1},
        {"momentum": 0.9, "nesterov": True},
    ],
)
def test_sgd_for_all_parameters(options: dict[str, Any], dtype: str) -> None:
    params, grads = arrays(0, dtype), arrays(1, dtype)
    expected = copies(params)
    ours: list[Any] = [None, *arrays(2, dtype)[1:]]
    theirs = copies(ours)
    for _ in range(2):
        assert optimizer.sgd_accepts(params, grads, ours, 0.1, **options)
        optimizer.sgd_step(params, grads, ours, 0.1, **options)
        plain.sgd_step(backend.CPU, expected, grads, theirs, 0.1, **options)
    for one, other in zip(params, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    if "momentum" in options:
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_decay": 0.1, "maximize": True},
        {"weight_decay": 0.1, "decoupled": True},
        {"max_exp_avg_sqs": True, "beta1": 0.5},
    ],
)
def test_adam_for_all_parameters(options: dict[str, Any], dtype: str) -> None:
    params, grads = arrays(0, dtype), arrays(1, dtype)
    state = [arrays(2, dtype), arrays(3, dtype, positive=True), arrays(4, dtype, positive=True)]
    expected, expected_state = copies(params), [copies(group) for group in state]
    steps = [1, 2, 3, 10]
    ours, theirs = dict(options), dict(options)
    if options.get("max_exp_avg_sqs"):
        ours["max_exp_avg_sqs"], theirs["max_exp_avg_sqs"] = state[2], expected_state[2]
    assert optimizer.adam_accepts(params, grads, state[0], state[1], steps, 0.01, **ours)
    optimizer.adam_step(params, grads, state[0], state[1], steps, 0.01, **ours)
    plain.adam_step(backend.CPU, expected, grads, expected_state[0], expected_state[1], steps, 0.01, **theirs)
    groups = zip([params, *state], [expected, *expected_state], strict=True)
    for mine, other in groups:
        for one, two in zip(mine, other, strict=True):
            np.testing.assert_allclose(one, two, rtol=2e-5, atol=1e-6)


def test_mixed_types_are_declined() -> None:
    params, grads = arrays(0, "float32"), arrays(1, "float64")
    assert not optimizer.sgd_accepts(params, grads, None, 0.1)
