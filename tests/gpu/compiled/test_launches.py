"""How often a training step calls the card: counted on CuPy over host memory, where nothing is carried
out.
"""

from __future__ import annotations

import importlib
import pathlib
import sys
from typing import Any

import pytest

import accelgrad
from accelgrad import kernels

MOST = {  # launches, and products of cuBLAS
    "tiny MLP, SGD": (11, 5),
    "tiny MLP, Adam": (11, 5),
    "MLP, SGD": (15, 8),
    "CNN 28x28": (47, 8),
    "LSTM 128": (21, 6),
    "GPT 4 x 128": (196, 75),
}


@pytest.mark.parametrize("model", MOST)
def test_a_step_calls_the_card_no_more_often_than_this(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    host: Any = importlib.import_module("host_cuda")
    monkeypatch.setattr(sys, "path", [str(pathlib.Path(__file__).parents[3] / "benchmarks"), *sys.path])
    gpu: Any = importlib.import_module("gpu")
    with kernels.use("auto"), host.nothing_runs():
        step = gpu.MODELS[model](accelgrad, "gpu")
        for _ in range(3):
            step()
        before = host.launches(), host.products()
        step()
        found = host.launches() - before[0], host.products() - before[1]
    assert found[0] <= MOST[model][0] and found[1] <= MOST[model][1], found
    assert min(found) > 0, "nothing was counted"


def test_what_was_left_out_is_carried_out_again() -> None:
    host: Any = importlib.import_module("host_cuda")
    x = accelgrad.ones(50, 50, device="gpu")
    with host.nothing_runs():
        (x @ x + x).sum()
    assert (x @ x + x)[0, 0].item() == 51
