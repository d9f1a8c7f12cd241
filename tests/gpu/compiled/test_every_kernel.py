"""Every kernel of ours as machine code of the host: values, the same bits in any order, no wrong access."""

from __future__ import annotations

import functools
import importlib
import math
import pathlib
import sys
from typing import Any

import numpy as np
import pytest

from accelgrad import backend, kernels
from accelgrad.kernels import plain

sys.path.insert(0, str(pathlib.Path(__file__).parent))
cases: Any = importlib.import_module("cases")
numbers = cases.numbers

# ------------------------------------------------------------------------------ at the size of real work


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


# ----------------------------------------------------------------------------------- what no formula gives


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


SHAPES = [(3,), (1,), (65, 91), (4097,)]


def steps(xp: Any, name: str, dtype: str, options: dict[str, Any]) -> None:
    """Two steps of an optimizer against its formula."""

    def groups(seed: int) -> list[np.ndarray]:
        made = [numbers(*shape, dtype=dtype, seed=seed + i) for i, shape in enumerate(SHAPES)]
        return made if seed < 20 else [abs(one) for one in made]

    host = [groups(0), groups(10), groups(20), groups(30), groups(40)]
    card = [[xp.from_host(one) for one in group] for group in host]
    if name == "sgd_step":
        host[2], card[2] = [None, *host[2][1:]], [None, *card[2][1:]]
    formulas = {"sgd_step": plain.sgd_step, "adam_step": plain.adam_step}
    functions = (getattr(xp, name), functools.partial(formulas[name], backend.CPU))
    for step in (1, 2):
        for function, (params, grads, first, second, largest) in zip(functions, (card, host), strict=True):
            if name == "sgd_step":
                function(params, grads, first, 0.1, **options)
            else:
                extra = {"max_exp_avg_sqs": largest} if options.get("amsgrad") else {}
                rest = {key: value for key, value in options.items() if key != "amsgrad"}
                function(params, grads, first, second, [step] * len(params), 0.01, **extra, **rest)
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    for mine, other in zip(card, host, strict=True):
        for one, two in zip(mine, other, strict=True):
            np.testing.assert_allclose(one.get(), two, rtol=tolerance, atol=tolerance)


OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("sgd_step", {"momentum": 0.9, "dampening": 0.2, "weight_decay": 0.1}),
    ("sgd_step", {"momentum": 0.9, "nesterov": True, "maximize": True}),
    ("adam_step", {"weight_decay": 0.1, "decoupled": True}),
    ("adam_step", {"amsgrad": True, "beta1": 0.5}),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_steps_of_optimizers(name: str, options: dict[str, Any], dtype: str, ours: Any) -> None:
    steps(ours, name, dtype, options)


# ------------------------------------------------------------------------------------- under the detector


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
        for name, options in OPTIMIZERS:
            steps(ours, name, dtype, options)
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
