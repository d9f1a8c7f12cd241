"""What only a real card shows: our kernels at full size, races, alignment, streams, late errors, memory."""

from __future__ import annotations

import importlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import cuda, kernels, nn, optim
from accelgrad.arrays import backend
from accelgrad.kernels.windows import Geometry

pytestmark = pytest.mark.gpu


sys.path.insert(0, str(pathlib.Path(__file__).parent / "compiled"))
cases: Any = importlib.import_module("cases")  # the calls that also run on the host
every: Any = importlib.import_module("test_every_kernel")


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The card's namespace with every kernel of ours that accepts; none may be missing in the end."""
    monkeypatch.setattr(accelgrad.backends.cudnn, "allow_tf32", False)  # values are compared
    with kernels.use("numba"):
        yield backend.namespace("gpu")
    missing = {name: why for (device, name), why in kernels.missing.items() if device == "cuda"}
    assert not missing


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def labels(classes: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, classes, shape)


IMAGES, GEOMETRY = numbers(8, 16, 33, 31), Geometry((1, 1), (1, 1), (1, 1))
ROWS, MIDDLE = numbers(300, 1003), numbers(40, 70, 50)
CASES: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "softmax": ("softmax", (ROWS,), {}),
    "log_softmax": ("log_softmax", (ROWS,), {}),
    "softmax_backward": ("softmax_backward", (ROWS, abs(numbers(300, 1003, seed=2))), {}),
    "logsumexp": ("logsumexp", (ROWS, 1), {}),
    "cross entropy": ("softmax_cross_entropy", (ROWS, labels(1003, 300)), {}),
    "layer norm": ("layer_norm", (ROWS, numbers(1003), numbers(1003, seed=3), 1e-5), {}),
    "batch norm": ("batch_norm", (IMAGES.reshape(8, 16, -1), numbers(16), numbers(16, seed=3), 1e-5), {}),
    "sum of all": ("sum", (numbers(3_000_001),), {}),
    "sum of rows": ("sum", (ROWS,), {"axis": 1}),
    "sum of columns": ("sum", (numbers(5000, 37),), {"axis": 0}),
    "sum of the outer axes": ("sum", (MIDDLE,), {"axis": (0, 2)}),
    "variance": ("var", (ROWS,), {"axis": 1, "ddof": 1}),
    "largest": ("max", (MIDDLE,), {"axis": 1}),
    "place of the largest": ("argmax", (ROWS,), {"axis": 1}),
    "norm": ("vector_norm", (numbers(100_003),), {}),
    "product": ("matmul", (numbers(517, 301), numbers(301, 259, seed=1)), {}),
    "product of transposed": ("matmul", (numbers(301, 517).T, numbers(259, 301, seed=1).T), {}),
    "products of stacks": ("matmul", (numbers(5, 65, 130), numbers(5, 130, 67, seed=1)), {}),
    "im2col": ("im2col", (IMAGES, 3), {"stride": 2, "padding": 1}),
    "max pool": ("max_pool2d", (IMAGES, 3), {"stride": 2, "padding": 1}),
    "embedding": ("embedding_backward", (numbers(5000, 70), labels(97, 5000), 97), {}),
    "gelu": ("gelu", (ROWS,), {}),
    "convolution": ("convolution", (IMAGES, numbers(32, 16, 3, 3), numbers(32), GEOMETRY), {}),
    "its adjoint": ("convolution_input", (IMAGES, numbers(16, 8, 3, 3), (33, 31), GEOMETRY), {}),
    "its weight": ("convolution_weight", (IMAGES, IMAGES, (3, 3), GEOMETRY), {}),
    "mean cross entropy": ("cross_entropy_total", (ROWS, labels(1003, 300), -100, True), {}),
    "causal softmax": ("causal_softmax", (numbers(4, 257, 300),), {}),
}


def parts(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple) else [result]


@pytest.mark.parametrize("case", CASES)
def test_a_kernel_at_full_size_agrees_with_its_formula_and_with_itself(case: str, ours: Any) -> None:
    name, arguments, options = CASES[case]
    moved = [ours.from_host(one) if isinstance(one, np.ndarray) else one for one in arguments]
    if "transposed" in case:
        moved = [ours.from_host(np.ascontiguousarray(one.T)).T for one in arguments]
    with kernels.use("off"), np.errstate(all="ignore"):
        wide = [one.astype("float64") if getattr(one, "dtype", "") == "float32" else one for one in arguments]
        expected = parts(getattr(backend.CPU, name)(*wide, **options))
    first = [one.get() for one in parts(getattr(ours, name)(*moved, **options))]
    for one, other in zip(first, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4)
    for _ in range(20):  # the order of additions is fixed: no bit may differ
        again = [one.get() for one in parts(getattr(ours, name)(*moved, **options))]
        for one, other in zip(again, first, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_kernel_at_awkward_sizes(dtype: str, ours: Any) -> None:
    for case in cases.all_cases(dtype):
        cases.check(ours, case, dtype)
    for formula, there in every.all_updates().values():
        every.check_update(ours, formula, there, dtype)
    every.check_norms(ours, dtype)


@pytest.mark.parametrize("route", every.ROUTES)
@pytest.mark.parametrize("width", [7, 128, 256])
def test_recurrent_layers(width: int, route: str, ours: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recurrent: Any = importlib.import_module("accelgrad.kernels.cuda.recurrent")
    for name, value in every.ROUTES[route].items():
        monkeypatch.setattr(recurrent, name, value)
    for reverse in (False, True):
        every.check_recurrent(ours, [9, 9, 5, 1] if not reverse else [6, 6, 6], width, reverse, "float32")


@pytest.mark.parametrize("offset", [1, 2, 3])
def test_arrays_that_begin_between_the_wide_loads(offset: int, ours: Any) -> None:
    flat = numbers(4096 * 3 + 3)
    moved = ours.from_host(flat)[offset:]
    np.testing.assert_allclose(
        float(ours.sum(moved)), flat[offset:].sum(dtype="float64"), rtol=1e-3, atol=1e-2
    )
    a, b = numbers(130, 133), numbers(133, 71)
    left, right = ours.from_host(a)[:, offset:], ours.from_host(b)[offset:]
    np.testing.assert_allclose(
        ours.matmul(left, right).get(), a[:, offset:] @ b[offset:], rtol=1e-3, atol=1e-3
    )


def test_one_stream_waits_for_another() -> None:
    side = cuda.Stream()
    x = accelgrad.ones(1 << 22, device="gpu")
    for turn in range(20):
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            y = x
            for _ in range(20):
                y = y + 1
        cuda.current_stream().wait_stream(side)
        assert float((y - x).min().item()) == 20.0, turn


def test_batches_are_fetched_whole_while_others_are_prepared() -> None:
    sums = []
    for turn in range(50):
        batch = accelgrad.full((256, 1024), float(turn)).pin_memory()
        sums.append(batch.to("gpu", non_blocking=True).sum())
    assert [float(one.item()) for one in sums] == [turn * 256.0 * 1024 for turn in range(50)]


def test_an_error_of_a_kernel_appears_where_the_program_waits() -> None:
    program = """
import accelgrad, cupy
kernel = cupy.RawKernel('extern "C" __global__ void fail(int* x) { x[0] = 1; __trap(); }', "fail")
x = accelgrad.zeros(1, dtype=accelgrad.int32, device="gpu")
accelgrad.cuda.synchronize()
kernel((1,), (1,), (x.array,))
print("launched", flush=True)
try:
    accelgrad.cuda.synchronize()
except Exception as error:
    print("seen", type(error).__name__, flush=True)
import os; os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=dict(os.environ),
        cwd=pathlib.Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.stdout.splitlines() == ["launched", "seen CUDARuntimeError"], (
        done.stdout + done.stderr[-2000:]
    )


def test_the_driver_has_no_room_and_training_goes_on() -> None:
    _, total = cuda.mem_get_info()
    weight = accelgrad.ones(1024, device="gpu", requires_grad=True)
    with pytest.raises(cuda.OutOfMemoryError, match="Tried to allocate"):
        (accelgrad.ones(2 * total // 4096, 1024, device="gpu") * weight).sum().backward()
    cuda.empty_cache()
    (accelgrad.ones(4, 1024, device="gpu") * weight).sum().backward()
    np.testing.assert_array_equal(weight.grad.cpu().numpy(), np.full(1024, 4.0))


def test_training_gives_the_same_bits_twice(ours: Any) -> None:
    def trained() -> list[np.ndarray]:
        accelgrad.manual_seed(0)
        model = nn.Sequential(
            *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Dropout(0.2), nn.Linear(8 * 49, 10)),
        ).to("gpu")
        update = optim.AdamW(model.parameters(), lr=1e-2)
        x, target = accelgrad.randn(64, 3, 16, 16, device="gpu"), accelgrad.arange(64, device="gpu") % 10
        for _ in range(5):
            update.zero_grad()
            nn.functional.cross_entropy(model(x), target).backward()
            update.step()
        return [one.detach().cpu().numpy() for one in model.parameters()]

    for one, other in zip(trained(), trained(), strict=True):
        np.testing.assert_array_equal(one, other)
