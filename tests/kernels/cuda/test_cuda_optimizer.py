"""The updates of all parameters in the simulator against the plain reading, and how many launches a step
takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import kernels, nn, optim
from accelgrad.arrays import backend
from accelgrad.kernels import updates
from accelgrad.kernels.cuda import launch, optimizer

# Threads of the simulator do not inherit np.errstate.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

SHAPES = [(3,), (1,), (0,), (5, 9), (), (130,)]
NAMES = {program.name: key for key, program in optimizer.UPDATES.items()}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizer, "CHUNK", 50)
    monkeypatch.setattr(optimizer, "THREADS", 32)
    optimizer.blocks_of.cache_clear()
    optimizer.table_of.cache_clear()


def arrays(seed: int, dtype: str, shapes: Any = SHAPES) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.array(rng.standard_normal(shape).astype(dtype)) for shape in shapes]


def lists(there: tuple[bool, ...], dtype: str) -> list[Any]:
    """Parameters, gradients, and what is kept, which no formula makes negative."""
    made: list[Any] = [arrays(0, dtype)]
    for place, here in enumerate(there):
        column = arrays(place + 1, dtype)
        made.append((column if place == 0 else [np.array(abs(x)) for x in column]) if here else None)
    return made


def copies(columns: list[Any]) -> list[Any]:
    return [None if one is None else [x.copy() for x in one] for one in columns]


def close(found: Any, wanted: Any, dtype: str) -> None:
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    for one, other in zip(found, wanted, strict=True):
        if one is not None:
            for x, y in zip(one, other, strict=True):
                np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def numbers_for(formula: Any, seed: int) -> tuple[float, ...]:
    chosen = np.random.default_rng(seed).uniform(0.2, 0.9, len(updates.numbers_of(formula)))
    if formula is updates.rprop:
        chosen[:] = (0.5, 1.2, 0.01, 2.0, 0.0)
    return tuple(chosen.tolist())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_every_update_for_all_parameters(name: str, dtype: str) -> None:
    formula, there = NAMES[name]
    ours = lists(there, dtype)
    theirs = copies(ours)
    for seed, common in enumerate([(1.0, 0.0, 1.0), (-1.0, 0.1, 0.9)]):
        numbers = numbers_for(formula, seed)
        assert optimizer.accepts(ours[0], formula, ours[1:], numbers, *common)
        optimizer.update_all(ours[0], formula, ours[1:], numbers, *common)
        updates.update_all(np, theirs[0], formula, theirs[1:], numbers, *common)
        close(ours, theirs, dtype)


@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_their_own_and_numbers_on_the_card(name: str) -> None:
    formula, there = NAMES[name]
    ours = lists(there, "float64")
    theirs = copies(ours)
    each = [numbers_for(formula, seed) for seed in range(len(SHAPES))]
    for numbers in (each, np.array(numbers_for(formula, 9))):
        assert optimizer.accepts(ours[0], formula, ours[1:], numbers)
        optimizer.update_all(ours[0], formula, ours[1:], numbers)
        updates.update_all(np, theirs[0], formula, theirs[1:], numbers)
        close(ours, theirs, "float64")


def test_nan_and_the_signs_of_nothing() -> None:
    size = [np.array([1.0, 1.0, 1.0, 1.0])]
    x, previous = [np.zeros(4)], [np.array([1.0, 1.0, -1.0, 0.0])]
    grads = [np.array([np.nan, 2.0, 2.0, 0.0])]
    optimizer.update_all(x, updates.rprop, [grads, previous, size], (0.5, 1.5, 0.01, 50.0, 0.0))
    np.testing.assert_array_equal(x[0], [np.nan, -1.5, 0.0, 0.0])
    np.testing.assert_array_equal(size[0], [1.0, 1.5, 0.5, 1.0])


def test_transposed_gradients_are_copied_not_refused() -> None:
    x, grads = arrays(0, "float32", [(5, 9)]), [np.asfortranarray(arrays(0, "float32", [(5, 9)])[0])]
    assert optimizer.accepts(x, updates.sgd, [grads, None], (1.0, 0, 0, 0, 0))
    optimizer.update_all(x, updates.sgd, [grads, None], (1.0, 0, 0, 0, 0))
    np.testing.assert_array_equal(x[0], 0)


def test_what_does_not_fit_is_declined() -> None:
    params, numbers = arrays(0, "float32"), (1.0, 0.0, 0.0, 0.0, 0.0)

    def accepts(grads: Any, params: Any = params, numbers: Any = numbers, formula: Any = updates.sgd) -> bool:
        return optimizer.accepts(params, formula, [grads, None], numbers)

    assert accepts(arrays(1, "float32"))
    assert not accepts(arrays(1, "float64"))
    assert not accepts(arrays(1, "float32")[1:])
    assert not accepts(arrays(1, "float32"), numbers=[numbers])
    assert not accepts(arrays(1, "float32"), numbers=np.array(numbers, np.float64))
    assert not accepts(arrays(1, "float16"), params=arrays(0, "float16"))
    assert not accepts([one.T for one in arrays(1, "float32")])
    assert not accepts(arrays(1, "float32"), params=[np.asfortranarray(one) for one in params])
    assert not accepts(arrays(1, "float32"), formula=lambda xp, x, g, b, /: (x, b))
    assert not accepts(None)


# --- the norm of all of them


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ord", [1, 2, math.inf])
def test_the_norm_of_all_is_that_of_one_vector(ord: float, dtype: str) -> None:
    given = arrays(0, dtype)
    assert optimizer.norm_accepts(given, ord)
    found = optimizer.total_norm(given, ord)
    assert found.shape == () and found.dtype == dtype
    wanted = np.linalg.norm(np.concatenate([x.ravel() for x in given]), ord)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("ord", [1, 2, math.inf])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_norm_shows_what_is_not_finite(ord: float, value: float) -> None:
    given = arrays(0, "float32")
    given[3][2, 2] = value
    np.testing.assert_array_equal(optimizer.total_norm(given, ord), np.float32(value))


def test_other_norms_are_declined() -> None:
    given = arrays(0, "float32")
    assert not optimizer.norm_accepts(given, 3) and not optimizer.norm_accepts([], 2)
    assert not optimizer.norm_accepts([given[2]], 2)
    assert not optimizer.norm_accepts([*given, np.ones(2)], 2)


# --- launches of a step


class Card(backend.NumpyNamespace):
    """NumPy with the CUDA kernels laid over it, which counts what would be launched or uploaded on a card:
    kernels of ours, and calls of NumPy's.
    """

    asynchronous = True

    def __init__(self) -> None:
        self.launches: list[str] = []
        self.uploads = 0
        super().__init__(np, backend.Device("cpu"))
        self.kernel_device = "cuda"

    def base(self, name: str) -> Any:
        function = super().base(name)
        if function is None or not callable(function):
            return function

        def counted(*args: Any, **options: Any) -> Any:
            self.launches.append(name)
            return function(*args, **options)

        return counted


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    with kernels.use("numba"):
        found = Card()
        call, upload = launch.Program.__call__, optimizer.upload

        def launched(program: Any, *args: Any) -> None:
            found.launches.append(program.name)
            call(program, *args)

        def uploaded(values: Any, dtype: Any) -> Any:
            found.uploads += 1
            return upload(values, dtype)

        monkeypatch.setattr(launch.Program, "__call__", launched)
        monkeypatch.setattr(optimizer, "upload", uploaded)
        yield found
        kernels._forgetters.remove(found._forget)


def parameters(card: Card, count: int = 20) -> list[Any]:
    made = []
    for i in range(count):
        x = nn.Parameter(accelgrad.tensor(np.full(i % 5 + 1, 1.0, np.float32)))
        x.grad = accelgrad.tensor(np.full(i % 5 + 1, 0.5, np.float32))
        x.xp = x.grad.xp = card
        made.append(x)
    return made


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.5, "centered": True}),
    *[(name, {}) for name in ("Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "ASGD", "Rprop")],
]


@pytest.mark.parametrize(("name", "options"), KINDS, ids=[f"{name}-{options}" for name, options in KINDS])
def test_a_step_on_twenty_parameters_is_one_launch(name: str, options: Any, card: Card) -> None:
    params = parameters(card)
    optimizer_ = getattr(optim, name)(params, **options)
    optimizer_.step()  # makes the state
    card.launches.clear()
    uploads = card.uploads
    optimizer_.step()
    assert len(card.launches) == 1 and "_all" in card.launches[0], card.launches
    assert card.uploads == uploads  # the table of the first step serves, the numbers are arguments
    twins = [nn.Parameter(accelgrad.tensor(np.ones(one.shape, np.float32))) for one in params]
    twin_optimizer = getattr(optim, name)(twins, **options)
    with kernels.use("off"):
        for _ in range(2):
            for one in twins:
                one.grad = accelgrad.tensor(np.full(one.shape, 0.5, np.float32))
            twin_optimizer.step()
    for one, twin in zip(params, twins, strict=True):
        np.testing.assert_allclose(one.array, twin.array, rtol=1e-5)


@pytest.mark.parametrize("name", ["Adam", "NAdam", "RAdam", "ASGD"])
def test_parameters_of_different_ages_share_a_launch_and_one_upload(name: str, card: Card) -> None:
    params = parameters(card)
    late, params[3].grad = params[3].grad, None
    optimizer_ = getattr(optim, name)(params)
    optimizer_.step()
    params[3].grad = late
    optimizer_.step()
    card.launches.clear()
    uploads = card.uploads
    optimizer_.step()
    assert len(card.launches) == 1 and card.uploads == uploads + 1
    steps = [optimizer_.state[one]["step"] for one in params]
    assert steps[3] == 2 and steps[0] == 3


def test_clipping_by_the_norm_takes_few_launches_and_no_word_from_the_card(card: Card) -> None:
    params = parameters(card)
    expected = 0.5 / math.sqrt(sum(one.array.size for one in params) * 0.25)
    total = nn.utils.clip_grad_norm_(params, 1.0)
    assert len(card.launches) <= 6, card.launches
    assert [name for name in card.launches if "_all" in name] == ["squares_of_all", "scale_all"]
    assert float(total.item()) == pytest.approx(0.5 / expected)
    for one in params:
        np.testing.assert_allclose(one.grad.array, expected, rtol=1e-5)
    card.launches.clear()
    nn.utils.clip_grad_norm_(params, 100.0)  # nothing to scale, but nobody looks
    np.testing.assert_allclose(params[0].grad.array, expected, rtol=1e-5)


def test_clipping_by_value_and_filling_with_zeros_are_one_launch_each(card: Card) -> None:
    params = parameters(card)
    nn.utils.clip_grad_value_(params, 0.25)
    assert card.launches == ["cut_all"] and (params[7].grad.array == 0.25).all()
    card.launches.clear()
    optim.SGD(params).zero_grad(set_to_none=False)
    assert card.launches == ["fill_all"] and (params[7].grad.array == 0).all()


def test_a_scaler_unscales_and_looks_in_three_launches(card: Card) -> None:
    params = parameters(card)
    scaler, optimizer_ = accelgrad.amp.GradScaler("cpu", init_scale=8.0), optim.SGD(params, lr=1.0)
    scaler.unscale_(optimizer_)
    assert card.launches == ["scale_all", "largest_of_all", "max_rows"]
    assert (params[7].grad.array == 0.5 / 8).all()
    params[4].grad.array[0] = np.inf
    scaler.update()
    before = params[0].array.copy()
    scaler.step(optimizer_)  # not done
    np.testing.assert_array_equal(params[0].array, before)
