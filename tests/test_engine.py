"""The engine of 200 lines: its gradients are accelgrad's, its names are the core's, and it stays short."""

from __future__ import annotations

import importlib.util
import pathlib
import re

import numpy as np
import pytest

import accelgrad
from accelgrad.core import context, graph, modes, primitive, tensor

FILE = pathlib.Path(__file__).resolve().parents[1] / "notebooks" / "engine.py"
CORE = (context, graph, modes, primitive, tensor)

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def engine():
    spec = importlib.util.spec_from_file_location("engine", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXPRESSIONS = {
    "product": lambda x, y, w: (x * y).sum(),
    "broadcast row": lambda x, y, w: (x + y * w).tanh().sum(),
    "one used twice": lambda x, y, w: (x * x + x).sum(),
    "diamond": lambda x, y, w: ((x.tanh() * y) + (x.tanh() * x)).sum(),
    "layers": lambda x, y, w: ((x @ y.tanh()) @ x + w).tanh().sum(),
}


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=list(EXPRESSIONS))
def test_its_gradients_are_those_of_the_core(engine, expression):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in ((3, 3), (3, 3), (1, 3))]
    ours = [engine.Tensor(one, requires_grad=True) for one in arrays]
    core = [accelgrad.tensor(one, requires_grad=True) for one in arrays]
    expression(*ours).backward()
    expression(*core).backward()
    for mine, other in zip(ours, core, strict=True):
        if other.grad is None:
            assert mine.grad is None
        else:
            np.testing.assert_allclose(mine.grad, other.grad.numpy(), rtol=1e-12)


def test_a_deep_chain_needs_no_recursion(engine):
    x = y = engine.Tensor([1.0], requires_grad=True)
    for _ in range(10_000):
        y = y + 1.0
    y.sum().backward()
    assert x.grad.tolist() == [1.0]


def test_two_backwards_add_up(engine):
    x = engine.Tensor([2.0], requires_grad=True)
    for _ in range(2):
        (x * x).sum().backward()
    assert x.grad.tolist() == [8.0]


def test_nothing_is_recorded_under_no_grad(engine):
    x = engine.Tensor([2.0], requires_grad=True)
    with engine.no_grad():
        assert (x * x)._edge is None
    assert (x * x)._edge is not None


def test_it_learns(engine):
    losses = engine.train()
    assert losses[-1] < 0.05 * losses[0]


@pytest.mark.parametrize(
    "name",
    ["Node", "Leaf", "walk", "Context", "Primitive", "Tensor", "unbroadcast", "no_grad", "state"],
)
def test_its_names_are_those_of_the_core(engine, name):
    assert hasattr(engine, name) and any(hasattr(module, name) for module in CORE)


def test_it_stays_short():
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(lines) <= 220


def test_the_reading_order_says_how_long_its_files_are():
    root = FILE.parents[1]
    rows = re.findall(r"^\| `([\w/.]+)` \| (\d+) \|", (root / "README.md").read_text(encoding="utf-8"), re.M)
    assert len(rows) >= 8
    for name, said in rows:
        count = (root / name).read_text(encoding="utf-8").count("\n")
        assert abs(count - int(said)) <= 0.1 * count, f"{name} has {count} lines, README says {said}"
