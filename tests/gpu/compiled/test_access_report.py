"""Bank conflicts and sectors are counted as a card has them, in kernels where they are known."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


def striding(step: int) -> Any:
    """Each thread puts a number ``step`` places after its neighbour's, in shared and in device memory."""

    def make(cuda: Any, T: Any) -> Any:
        def kernel(y):
            buffer = cuda.shared.array(1024, T)
            buffer[cuda.threadIdx.x * step] = T(1)
            y[cuda.threadIdx.x * step] = T(1)

        return kernel

    return make


def counted(
    host: Any, run: Callable[..., Any], make: Any, size: int, threads: int = 32
) -> dict[str, tuple[int, ...]]:
    """Accesses of warps, taken and least, over all lines of a kernel."""
    with host.measured() as rows:
        run(make, "P", 1, threads, np.zeros(size, "float32"))
    memories = dict.fromkeys(row[2] for row in rows)
    return {
        memory: tuple(map(sum, zip(*(row[3:] for row in rows if row[2] == memory), strict=True)))
        for memory in memories
    }


@pytest.mark.parametrize(
    ("step", "turns", "sectors"), [(1, 1, 4), (2, 2, 8), (3, 1, 12), (16, 16, 32), (32, 32, 32)]
)
def test_numbers_apart(step: int, turns: int, sectors: int, host: Any, run: Callable[..., Any]) -> None:
    found = counted(host, run, striding(step), 1024)
    assert found == {"shared": (1, turns, 1), "global": (1, sectors, 4)}


def test_all_threads_may_read_one_place_at_once(host: Any, run: Callable[..., Any]) -> None:
    def make(cuda: Any, T: Any) -> Any:
        def kernel(y):
            buffer = cuda.shared.array(32, T)
            buffer[cuda.threadIdx.x] = T(1)
            cuda.syncthreads()
            y[cuda.threadIdx.x] = buffer[5]

        return kernel

    assert counted(host, run, make, 32)["shared"] == (2, 2, 2)


@pytest.mark.parametrize(("step", "turns"), [(4, 4), (8, 8)])
def test_sixteen_bytes_a_thread_go_in_four_parts(
    step: int, turns: int, host: Any, run: Callable[..., Any]
) -> None:
    def make(cuda: Any, T: Any) -> Any:
        store4 = importlib.import_module("accelgrad.kernels.cuda.warp").store4

        def kernel(y):
            buffer = cuda.shared.array(256, T, 16)
            t = cuda.threadIdx.x
            store4(buffer, t * step, y[t], y[t], y[t], y[t])

        return kernel

    assert counted(host, run, make, 32)["shared"] == (1, turns, 4)


def test_both_warps_of_a_block_and_every_turn_of_a_loop_count(host: Any, run: Callable[..., Any]) -> None:
    def make(cuda: Any, T: Any) -> Any:
        def kernel(y):
            for i in range(3):
                y[i * 64 + cuda.threadIdx.x] = T(i)

        return kernel

    assert counted(host, run, make, 192, 64) == {"global": (6, 24, 24)}


def test_the_report_adds_up_what_was_counted() -> None:
    report: Any = importlib.import_module("access_report")
    rows = [
        ("a", "x.py:1", "shared", 2, 8, 2),
        ("a", "x.py:2", "shared", 1, 1, 1),
        ("b", "y.py:3", "global", 1, 4, 4),
    ]
    sums = report.gathered(rows, False)
    assert sums[("a",)]["shared"] == [3, 9, 3] and sums[("b",)]["global"] == [1, 4, 4]
    assert report.gathered(rows, True)[("a", "x.py:1")]["shared"] == [2, 8, 2]
