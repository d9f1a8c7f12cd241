"""Numba's CUDA simulator, completed: shuffles and votes within a warp, and device functions in files of
their own.

Import it with NUMBA_ENABLE_CUDASIM=1 in the environment.  A thread of the simulator is a thread of Python;
the 32 lanes of a warp meet at a barrier, so a shuffle that not every lane reaches is reported instead of
giving some number.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numba import cuda, types
from numba.cuda.simulator import kernel, kernelapi
from numba.np.numpy_support import as_dtype

PATIENCE = 20  # seconds until a missing lane is taken for a divergent one


class Warp:
    """Where the lanes of a warp meet and lay down what they bring."""

    def __init__(self, lanes: int) -> None:
        self.barrier = threading.Barrier(lanes)
        self.lanes = lanes
        self.values: list[Any] = [None] * lanes


_guard = threading.Lock()


def _warp_of_this_thread() -> tuple[Warp, int]:
    thread: Any = threading.current_thread()
    block = thread._manager
    number, lane = divmod(thread.thread_id, 32)
    with _guard:
        warps = block.__dict__.setdefault("warps", {})
        if number not in warps:
            warps[number] = Warp(min(32, int(np.prod(block._block_dim)) - 32 * number))
    return warps[number], lane


def exchange(value: Any, choose: Callable[[list[Any], int], Any]) -> Any:
    """Every lane gives ``value`` and gets ``choose(all values, its own lane)``."""
    warp, lane = _warp_of_this_thread()
    warp.values[lane] = value
    try:
        warp.barrier.wait(PATIENCE)
        result = choose(warp.values, lane)
        warp.barrier.wait(PATIENCE)
    except threading.BrokenBarrierError:
        raise RuntimeError("divergent warp: not every lane reached the same *_sync call") from None
    return result


def _from(source: Callable[[int], int], inside: Callable[[int], bool] = lambda lane: True) -> Any:
    def choose(values: list[Any], lane: int) -> Any:
        other = source(lane)
        return values[other] if inside(lane) and 0 <= other < len(values) else values[lane]

    return choose


class Shuffles:
    """The calls that the simulator lacks, in the form in which a kernel makes them."""

    def shfl_sync(self, mask: int, value: Any, source: int) -> Any:
        return exchange(value, _from(lambda lane: source % 32))

    def shfl_down_sync(self, mask: int, value: Any, step: int) -> Any:
        return exchange(value, _from(lambda lane: lane + step))

    def shfl_up_sync(self, mask: int, value: Any, step: int) -> Any:
        return exchange(value, _from(lambda lane: lane - step))

    def shfl_xor_sync(self, mask: int, value: Any, bits: int) -> Any:
        return exchange(value, _from(lambda lane: lane ^ bits))

    def any_sync(self, mask: int, vote: Any) -> bool:
        return exchange(bool(vote), lambda values, lane: any(values))

    def all_sync(self, mask: int, vote: Any) -> bool:
        return exchange(bool(vote), lambda values, lane: all(values))

    def ballot_sync(self, mask: int, vote: Any) -> int:
        return exchange(bool(vote), lambda values, lane: sum(1 << i for i, one in enumerate(values) if one))

    def syncwarp(self, mask: int = 0xFFFFFFFF) -> None:
        exchange(None, lambda values, lane: None)


for _name, _call in vars(Shuffles).items():
    if not _name.startswith("_"):
        setattr(kernelapi.FakeCUDAModule, _name, _call)


# A device function sees its own file's name ``cuda``, which the simulator replaces while the function
# runs, and puts back when the first of many threads returns.  Here the last one puts it back.
_users: dict[int, int] = {}


@contextlib.contextmanager
def swapped_for_all(function: Any, module: Any) -> Iterator[None]:
    names = function.__globals__
    with _guard:
        if not _users.get(id(names)):
            names["__simulated__"] = [name for name, value in names.items() if value is cuda]
        _users[id(names)] = _users.get(id(names), 0) + 1
        for name in names["__simulated__"]:
            names[name] = module
    try:
        yield
    finally:
        with _guard:
            _users[id(names)] -= 1
            if not _users[id(names)]:
                for name in names.pop("__simulated__"):
                    names[name] = cuda


kernel.swapped_cuda_module = swapped_for_all


def _shared_array(self: Any, shape: Any, dtype: Any, alignment: int | None = None) -> np.ndarray:
    """The array that all threads of the block get from this place in the program; it starts as rubbish."""
    frame = sys._getframe(1)
    place = (frame.f_code.co_filename, frame.f_lasti)
    with _guard:
        if place not in self._allocations:
            rubbish = np.empty(shape, as_dtype(dtype) if isinstance(dtype, types.Type) else dtype)
            rubbish.fill(77)
            self._allocations[place] = rubbish
    return self._allocations[place]


kernelapi.FakeCUDAShared.array = _shared_array
