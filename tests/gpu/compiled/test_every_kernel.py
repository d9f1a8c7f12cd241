"""Every kernel of ours as machine code of the host: values, the same bits in any order, no wrong access."""

from __future__ import annotations

import importlib
import math
import pathlib
import sys
from typing import Any

import numpy as np
import pytest

from accelgrad import kernels
from accelgrad.arrays import backend
from accelgrad.kernels import plain, updates

sys.path.insert(0, str(pathlib.Path(__file__).parent))
cases: Any = importlib.import_module("cases")
numbers = cases.numbers

# --- at the size of real work


def big_cases() -> dict[str, Any]:
    images = numbers(4, 8, 33, 31)
    found: dict[str, Any] = {
        "softmax of a vocabulary": ("softmax", (numbers(3, 50257),), {}),
        "gradient of softmax": ("softmax_backward", (numbers(3, 50257), abs(numbers(3, 50257, seed=2))), {}),
        "cross entropy": ("softmax_cross_entropy", (numbers(5, 50257), cases.integers(50257, 5)), {}),
        "layer norm": ("layer_norm", (numbers(65, 1025), numbers(1025), numbers(1025, seed=3), 1e-5), {}),
        "batch norm": ("batch_norm", (numbers(8, 16, 1023), numbers(16), numbers(16, seed=3), 1e-5), {}),
        "sum of three million": ("sum", (numbers(3_000_001),), {}),
        "mean of columns": ("mean", (numbers(20_011, 37),), {"axis": 0}),
        "variance": ("var", (numbers(3, 200_003),), {"axis": 1, "ddof": 1}),
        "outer axes": ("sum", (numbers(40, 70, 51),), {"axis": (0, 2)}),
        "place of the largest": ("argmax", (numbers(1_000_003),), {}),
        "norm": ("vector_norm", (numbers(300_003),), {}),
        "im2col": ("im2col", (images, 3), {"stride": 2, "padding": 1}),
        "max pool": ("max_pool2d", (images, 3), {"stride": 2, "padding": 1}),
        "embedding": ("embedding_backward", (numbers(2000, 70), cases.integers(97, 2000), 97), {}),
        "stacks of matrices": ("matmul", (numbers(5, 65, 130), numbers(5, 130, 67, seed=1)), {}),
    }
    for m, k, n in [(257, 130, 513), (300, 1024, 260)]:
        a, b = numbers(m, k), numbers(k, n, seed=1)
        for left_name, left in (("rows", a), ("columns", cases.Transposed(a))):
            for right_name, right in (("rows", b), ("columns", cases.Transposed(b))):
                found[f"matmul {m} {k} {n} {left_name} {right_name}"] = ("matmul", (left, right), {})
    return found


BIG = big_cases()


@pytest.mark.parametrize("case", BIG)
def test_at_the_size_of_real_work(case: str, ours: Any, host: Any) -> None:
    forwards = cases.check(ours, BIG[case], "float32")
    for order, seed in (("backwards", 0), ("mixed", 1)):
        with host.in_order(order, seed):
            for one, other in zip(cases.results(ours, BIG[case]), forwards, strict=True):
                np.testing.assert_array_equal(one, other, err_msg=f"threads and blocks {order}")


@pytest.mark.parametrize("offset", [1, 2, 3])
def test_arrays_that_begin_between_the_wide_loads(offset: int, ours: Any) -> None:
    cases.check(ours, ("sum", (cases.Offset(numbers(4096 * 3 + 3), offset),), {}), "float32")
    left, right = cases.Offset(numbers(130, 132), offset), cases.Offset(numbers(132, 72, seed=1), offset)
    cases.check(ours, ("matmul", (left, right), {}), "float32")


# --- what no formula gives


def mask_of(xp: Any, shape: tuple[int, ...], used: int, generator: np.random.Generator) -> Any:
    generator.integers(0, 2**32, used, dtype="uint32")
    return xp.keep_mask(xp.from_host(numbers(3)), shape, 0.3, generator)


@pytest.mark.parametrize("used", [0, 1, 2, 7])
@pytest.mark.parametrize("shape", [(1,), (31,), (65, 1000)])
def test_the_mask_of_dropout_is_that_of_numpy(used: int, shape: tuple[int, ...], ours: Any) -> None:
    generator, twin = np.random.Generator(np.random.Philox(5)), np.random.Generator(np.random.Philox(5))
    found = mask_of(ours, shape, used, generator)
    twin.integers(0, 2**32, used, dtype="uint32")
    drawn = twin.integers(0, 2**32, math.prod(shape), dtype="uint32")
    np.testing.assert_array_equal(found.get().ravel(), drawn >= math.ceil(0.3 * 2**32))
    assert (
        generator.integers(0, 2**32, 5, dtype="uint32").tolist()
        == twin.integers(0, 2**32, 5, dtype="uint32").tolist()
    )


SHAPES = [(3,), (1,), (0,), (65, 91), (), (4097,)]


def numbers_for(formula: Any, seed: int) -> tuple[float, ...]:
    if formula is updates.rprop:
        return 0.5, 1.2, 0.01, 2.0, 0.0
    return tuple(np.random.default_rng(seed).uniform(0.2, 0.9, len(updates.numbers_of(formula))).tolist())


def check_update(xp: Any, formula: Any, there: tuple[bool, ...], dtype: str) -> None:
    """The parameters and what is kept, after steps with numbers for all, for each, and on the card."""
    host: list[Any] = [[np.asarray(numbers(*shape, dtype=dtype)) for shape in SHAPES]]
    for place, here in enumerate(there):
        column = [np.asarray(numbers(*shape, dtype=dtype, seed=place + 1)) for shape in SHAPES]
        host.append((column if place == 0 else [np.asarray(abs(x)) for x in column]) if here else None)
    card = [None if one is None else [xp.from_host(x) for x in one] for one in host]
    each = [numbers_for(formula, seed) for seed in range(len(SHAPES))]
    on_card = np.array(numbers_for(formula, 9), dtype)
    for given, moved in ((each[0], each[0]), (each, each), (on_card, xp.from_host(on_card))):
        xp.update_all(card[0], formula, card[1:], moved, -1.0, 0.1, 0.9)
        with np.errstate(all="ignore"):
            updates.update_all(np, host[0], formula, host[1:], given, -1.0, 0.1, 0.9)
    tolerance = 2e-4 if dtype == "float32" else 1e-11
    for mine, other in zip(card, host, strict=True):
        for one, two in zip(mine or (), other or (), strict=True):
            np.testing.assert_allclose(one.get(), two, rtol=tolerance, atol=tolerance)


def check_norms(xp: Any, dtype: str) -> None:
    arrays = [np.asarray(numbers(*shape, dtype=dtype)) for shape in SHAPES]
    flat = np.concatenate([one.ravel() for one in arrays]).astype("float64")
    for ord in (1, 2, math.inf):
        found = xp.total_norm([xp.from_host(one) for one in arrays], ord)
        np.testing.assert_allclose(found.get(), np.linalg.norm(flat, ord), rtol=1e-5)


def all_updates() -> dict[str, Any]:
    """The kernels' names -> formula and the arrays that are there."""
    optimizer: Any = importlib.import_module("accelgrad.kernels.cuda.optimizer")
    return {program.name: key for key, program in optimizer.UPDATES.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_of_optimizers(dtype: str, ours: Any) -> None:
    for formula, there in all_updates().values():
        check_update(ours, formula, there, dtype)
    check_norms(ours, dtype)


# --- recurrent layers


def check_recurrent(xp: Any, sizes: list[int], width: int, reverse: bool, dtype: str) -> None:
    """LSTM and GRU, there and back: what they give, and the gates that they write over."""
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    steps = list(zip(starts, sizes, strict=True))[:: -1 if reverse else 1]
    rows, n = sum(sizes), sizes[0]
    tolerance = {"rtol": 1e-3, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-10, "atol": 1e-11}

    def compared(name: str, arrays: list[Any], *rest: Any, gates: int) -> list[Any]:
        moved = [None if one is None else xp.from_host(one) for one in arrays]
        copies = [None if one is None else one.copy() for one in arrays]
        found = getattr(xp, name)(*moved, *rest)
        wanted = getattr(plain, name)(backend.CPU, *copies, *rest)
        for one, other in zip((*found, moved[gates]), (*wanted, copies[gates]), strict=True):
            np.testing.assert_allclose(one.get(), other, **tolerance, err_msg=name)
        return [copies[gates], *wanted]

    def some(*shape: int, seed: int) -> np.ndarray:
        return numbers(*shape, dtype=dtype, seed=seed) / np.sqrt(np.array(width, dtype))

    h0, c0 = some(n, width, seed=1), some(n, width, seed=2)
    grads = [some(rows, width, seed=3), some(n, width, seed=4)]
    w_hh = some(4 * width, width, seed=5)
    lstm = [some(rows, 4 * width, seed=6), h0, c0, w_hh]
    gates, _, cells, tanhs, _, _ = compared("lstm_steps", lstm, steps, gates=0)
    back = [*grads, some(n, width, seed=7), gates, cells, tanhs, c0, w_hh]
    compared("lstm_steps_backward", back, steps, gates=3)
    for bias in (some(3 * width, seed=8), None):
        gru = [some(rows, 3 * width, seed=9), h0, w_hh[: 3 * width], bias]
        gates, y, inner, _ = compared("gru_steps", gru, steps, gates=0)
    compared("gru_steps_backward", [*grads, gates, inner, y, h0, w_hh[: 3 * width]], steps, gates=2)


ROUTES: dict[str, dict[str, int]] = {
    "a sample a block": {},
    "four samples a block": {"MANY": 1},
    "step by step": {"WIDEST": 0},
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("width", [128, 256])
def test_recurrent_layers(width: int, route: str, ours: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recurrent: Any = importlib.import_module("accelgrad.kernels.cuda.recurrent")
    for name, value in ROUTES[route].items():
        monkeypatch.setattr(recurrent, name, value)
    check_recurrent(ours, [5, 5, 3, 1], width, False, "float32")


# --- under the detector


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_kernel_touches_what_it_may_not(dtype: str, ours: Any, host: Any) -> None:
    """At awkward sizes, whole arrays with guards around: bounds, alignment, races, unwritten memory."""
    programs = importlib.import_module("kernel_report").programs()
    with host.watched():
        for case in cases.all_cases(dtype):
            shapes = [getattr(one, "x", one) for one in case[1]]
            try:
                cases.check(ours, case, dtype)
            except Exception as error:
                error.add_note(f"{case[0]} of {[getattr(one, 'shape', one) for one in shapes]}, {case[2]}")
                raise
        for formula, there in all_updates().values():
            check_update(ours, formula, there, dtype)
        check_norms(ours, dtype)
        recurrent: Any = importlib.import_module("accelgrad.kernels.cuda.recurrent")
        for route in ROUTES.values():
            with pytest.MonkeyPatch.context() as patch:
                for name, value in route.items():
                    patch.setattr(recurrent, name, value)
                check_recurrent(ours, [5, 3, 1], 11, False, dtype)
                check_recurrent(ours, [3, 3], 5, True, dtype)
        for used in (0, 3):
            mask_of(ours, (1000,), used, np.random.Generator(np.random.Philox(5)))
        char = np.dtype(dtype).char
        forgotten = {
            program.name
            for program in programs
            if char in program.dtypes and not any(key[0] == char for key in program._loaded)
        }
    assert not forgotten, "cases.py has no call of them"
    assert not [name for device, name in kernels.missing if device == "cuda"]


def test_an_index_that_is_no_row_of_the_table_writes_nowhere(ours: Any, host: Any) -> None:
    grad, indices = numbers(5, 3), np.array([1, -1, 0, 4, 1])
    with host.watched():
        found = ours.embedding_backward(ours.from_host(grad), ours.from_host(indices), 4)
    np.testing.assert_allclose(found.get(), [grad[2], grad[0] + grad[4], [0] * 3, [0] * 3], rtol=1e-6)
