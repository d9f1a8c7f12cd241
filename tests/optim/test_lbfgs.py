"""L-BFGS: its path and its counts are PyTorch's, with and without line search; its errors help."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import nn, optim
from accelgrad.nn import functional as F

SETTINGS: list[dict[str, Any]] = [
    {"lr": 0.3, "max_iter": 7},
    {"lr": 0.1, "max_iter": 4, "history_size": 2},
    {"line_search_fn": "strong_wolfe", "max_iter": 6},
    {"line_search_fn": "strong_wolfe", "max_iter": 7, "history_size": 3},
    {"line_search_fn": "strong_wolfe", "max_iter": 30, "max_eval": 9},
    {"line_search_fn": "strong_wolfe", "max_iter": 6, "lr": 5.0, "tolerance_change": 1e-3},
    {"line_search_fn": "strong_wolfe", "max_iter": 6, "tolerance_grad": 0.5},
]
"""All of them end far from the minimum, where a last bit of the loss would decide what comes next."""


def problem(library: Any, functional: Any) -> tuple[list[Any], Any]:
    """A small network's parameters and its loss on fixed data."""
    rng = np.random.default_rng(3)
    x, y = library.tensor(rng.standard_normal((20, 3))), library.tensor(rng.integers(0, 3, 20))
    parameters = [
        library.tensor(0.5 * rng.standard_normal(shape)).requires_grad_() for shape in ((4, 3), (4,), (3, 4))
    ]
    unused = library.tensor(rng.standard_normal(2)).requires_grad_()

    def loss() -> Any:
        first, bias, second = parameters
        hidden = functional.linear(x, first, bias).tanh()
        return functional.cross_entropy(functional.linear(hidden, second), y) + 0.01 * sum(
            (one * one).sum() for one in parameters
        )

    return [*parameters, unused], loss


def rosenbrock(library: Any, _: Any) -> tuple[list[Any], Any]:
    x = library.tensor([-1.2, 1.0], dtype=library.float64, requires_grad=True)
    return [x], lambda: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def steps(optimizer: Any, loss: Any, parameters: list[Any], count: int = 2) -> tuple[Any, ...]:
    """What each step returned, where it led, and how many evaluations it took."""

    def closure() -> Any:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    told, path, counts = [], [], []
    for _ in range(count):
        told.append(optimizer.step(closure).item())
        path.append(np.concatenate([one.detach().numpy().ravel() for one in parameters]))
        entry = optimizer.state[parameters[0]]
        counts.append((entry["n_iter"], entry["func_evals"]))
    return told, path, counts


@pytest.mark.parametrize("make", [problem, rosenbrock])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_path_is_pytorchs(make: Any, settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    if make is rosenbrock and "line_search_fn" not in settings:
        settings = {**settings, "lr": 1e-3}
    theirs, their_loss = make(torch, torch.nn.functional)
    ours, our_loss = make(accelgrad, F)
    expected = steps(torch.optim.LBFGS(theirs, **settings), their_loss, theirs)
    found = steps(optim.LBFGS(ours, **settings), our_loss, ours)
    assert found[2] == expected[2]
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5, atol=1e-8)


def test_the_valley_is_walked_to_its_end() -> None:
    (x,), loss = rosenbrock(accelgrad, F)
    steps(optim.LBFGS([x], line_search_fn="strong_wolfe", max_iter=100, tolerance_change=1e-14), loss, [x], 1)
    np.testing.assert_allclose(x.detach().numpy(), [1.0, 1.0], atol=1e-6)


def test_a_saved_state_carries_on() -> None:
    ours, loss = problem(accelgrad, F)
    first = optim.LBFGS(ours, max_iter=3, line_search_fn="strong_wolfe")
    steps(first, loss, ours, 2)
    saved = pickle.loads(pickle.dumps(first.state_dict()))
    start = [one.detach().clone() for one in ours]
    expected = steps(first, loss, ours, 1)
    for one, value in zip(ours, start, strict=True):
        one.data = value
    second = optim.LBFGS(ours, max_iter=3, line_search_fn="strong_wolfe")
    second.load_state_dict(saved)
    np.testing.assert_array_equal(steps(second, loss, ours, 1)[1], expected[1])


def test_pytorchs_state_carries_on_here() -> None:
    torch = pytest.importorskip("torch")
    theirs, their_loss = problem(torch, torch.nn.functional)
    ours, our_loss = problem(accelgrad, F)
    settings: dict[str, Any] = {"max_iter": 3, "line_search_fn": "strong_wolfe"}
    one, other = torch.optim.LBFGS(theirs, **settings), optim.LBFGS(ours, **settings)
    steps(one, their_loss, theirs, 2)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for mine, their in zip(ours, theirs, strict=True):
        mine.data = accelgrad.tensor(their.detach().numpy())
    expected, found = steps(one, their_loss, theirs, 2), steps(other, our_loss, ours, 2)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-6, atol=1e-9)
    assert found[2] == expected[2]


def test_a_gradient_of_zero_ends_the_step_at_once() -> None:
    x = nn.Parameter(accelgrad.zeros(2))
    told, path, counts = [], [], 0

    def closure() -> Any:
        nonlocal counts
        counts += 1
        x.grad = accelgrad.zeros(2)
        return (x * x).sum()

    optimizer = optim.LBFGS([x])
    told.append(optimizer.step(closure).item())
    path.append(x.tolist())
    assert (told, path, counts) == ([0.0], [[0.0, 0.0]], 1)


def test_a_straight_slope_is_followed_until_the_evaluations_are_spent() -> None:
    torch = pytest.importorskip("torch")

    def slope(library: Any, _: Any) -> tuple[list[Any], Any]:
        x = library.tensor([1.0], dtype=library.float64, requires_grad=True)
        return [x], lambda: 3 * x.sum()

    theirs, their_loss = slope(torch, None)
    ours, our_loss = slope(accelgrad, None)
    settings: dict[str, Any] = {"line_search_fn": "strong_wolfe", "max_iter": 4}
    expected = steps(torch.optim.LBFGS(theirs, **settings), their_loss, theirs, 1)
    found = steps(optim.LBFGS(ours, **settings), our_loss, ours, 1)
    np.testing.assert_allclose(found[1], expected[1])


def test_wrong_use_is_refused_with_a_way_out() -> None:
    x, y = nn.Parameter(accelgrad.zeros(1)), nn.Parameter(accelgrad.zeros(1))
    with pytest.raises(ValueError, match="doesn't support per-parameter options"):
        optim.LBFGS([{"params": [x]}, {"params": [y]}])
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'closure'"):
        optim.LBFGS([x]).step()
    with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported"):
        optim.LBFGS([x], line_search_fn="armijo").step(lambda: x.sum())
    with pytest.raises(ValueError, match="Invalid learning rate: -1"):
        optim.LBFGS([x], lr=-1)
