"""The part of ``cupy.cuda`` that accelgrad speaks to, in host memory: devices, streams, events, memory."""

from __future__ import annotations

import sys
import threading
import time
import types
import weakref
from collections.abc import Callable
from typing import Any

DEVICES = 2
TOTAL_MEMORY = 8 << 30


class Current(threading.local):
    """What each thread has chosen."""

    def __init__(self) -> None:
        self.device = 0
        self.streams: list[Any] = []


current = Current()
counts = {"syncs": 0, "launches": 0}


def count_sync() -> None:
    """Note that the host had to wait for the device."""
    counts["syncs"] += 1
    fetch_now()


class Device:
    """One device; a context in which it is the current one."""

    def __init__(self, device: Any = None) -> None:
        self.id = current.device if device is None else int(getattr(device, "id", device))
        if not 0 <= self.id < DEVICES:
            raise runtime.CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self._before: list[int] = []

    def __enter__(self) -> Device:
        self._before.append(current.device)
        current.device = self.id
        return self

    def __exit__(self, *exception: object) -> None:
        current.device = self._before.pop()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __int__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def use(self) -> None:
        current.device = self.id

    def synchronize(self) -> None:
        count_sync()

    compute_capability = "90"

    @property
    def mem_info(self) -> tuple[int, int]:
        return runtime.memGetInfo()


# --- memory


class OutOfMemoryError(MemoryError):
    """What CuPy raises when a pool can get no more."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        limited = f", limit set to: {limit:,} bytes" if limit else ""
        super().__init__(
            f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes{limited})."
        )


class PooledMemory:
    """A block that a pool has given out; it goes back when nobody holds it."""

    def __init__(self, size: int, pool: MemoryPool, device: int) -> None:
        self.size, self.device_id, self.ptr = size, device, id(self)
        weakref.finalize(self, pool.take_back, size, device)


class MemoryPointer:
    """A block and a place in it."""

    def __init__(self, mem: Any, offset: int) -> None:
        self.mem, self.ptr = mem, mem.ptr + offset
        self.device_id = mem.device_id


class MemoryPool:
    """Counts what it gives out, in units of 512 bytes."""

    def __init__(self) -> None:
        self.used = [0] * DEVICES
        self.total = [0] * DEVICES
        self.limit = [0] * DEVICES

    def malloc(self, size: int) -> MemoryPointer:
        size = -(-size // 512) * 512
        device = current.device
        needed = self.used[device] + size
        limit = self.limit[device] or TOTAL_MEMORY
        if needed > limit:
            raise OutOfMemoryError(size, self.total[device], self.limit[device])
        self.used[device] = needed
        self.total[device] = max(self.total[device], needed)
        return MemoryPointer(PooledMemory(size, self, device), 0)

    def take_back(self, size: int, device: int) -> None:
        self.used[device] -= size

    def used_bytes(self) -> int:
        return self.used[current.device]

    def total_bytes(self) -> int:
        return self.total[current.device]

    def free_bytes(self) -> int:
        return self.total_bytes() - self.used_bytes()

    def free_all_blocks(self, stream: Any = None) -> None:
        self.total[current.device] = self.used[current.device]

    def get_limit(self) -> int:
        return self.limit[current.device]

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        self.limit[current.device] = size if size is not None else int((fraction or 0) * TOTAL_MEMORY)


class Cublas:
    """NumPy multiplies here; what is left of cuBLAS is the mode of its handle."""

    mode = 0

    def getMathMode(self, handle: int) -> int:
        return self.mode

    def setMathMode(self, handle: int, mode: int) -> None:
        self.mode = mode


cublas = Cublas()


def get_cublas_handle() -> int:
    return 1


pool = MemoryPool()
_allocator: Callable[[int], MemoryPointer] = pool.malloc


def get_allocator() -> Callable[[int], MemoryPointer]:
    return _allocator


def set_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> None:
    global _allocator
    _allocator = pool.malloc if allocator is None else allocator


def alloc(size: int) -> MemoryPointer:
    return _allocator(size)


class PinnedMemoryPointer(bytearray):
    """Page-locked memory: the device fetches from it later, and finds rubbish if nobody held it so long."""


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    return PinnedMemoryPointer(size)


# What the device has been asked to fetch from page-locked memory. It gets to it when somebody waits, or when
# the next operation runs; until then the host goes on.
fetches: list[Callable[[], None]] = []


def fetch_later(fetch: Callable[[], None]) -> None:
    """Put a copy from page-locked memory into the queue."""
    fetches.append(fetch)


def fetch_now() -> None:
    """Let the device do what it has been asked to fetch."""
    while fetches:
        fetches.pop(0)()


# --- streams and events


class Stream:
    """A queue of work; here everything is done at once."""

    null: Stream

    def __init__(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: int = 0
    ) -> None:
        self.ptr = 0 if null else id(self)
        self.priority = priority

    def __enter__(self) -> Stream:
        current.streams.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        current.streams.pop()

    def use(self) -> Stream:
        current.streams[-1:] = [self]
        return self

    def synchronize(self) -> None:
        count_sync()

    @property
    def done(self) -> bool:
        return True

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        if not isinstance(event, Event):
            raise TypeError("wait_event needs an Event")


class ExternalStream(Stream):
    """A stream that somebody else made."""

    def __init__(self, ptr: int, device_id: int = -1) -> None:
        super().__init__()
        self.ptr = ptr


Stream.null = Stream(null=True)


class Event:
    """A mark in a stream that remembers when it was passed."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        self.disable_timing, self.at = disable_timing, None

    def record(self, stream: Any = None) -> None:
        self.at: float | None = time.perf_counter()
        self.before = fetches[-1:]

    def synchronize(self) -> None:
        count_sync()

    @property
    def done(self) -> bool:
        """Whether what was asked for before the mark has been done."""
        return not any(one in fetches for one in getattr(self, "before", []))


def get_current_stream(device_id: int | None = None) -> Stream:
    return current.streams[-1] if current.streams else Stream.null


def get_elapsed_time(start: Event, end: Event) -> float:
    if start.disable_timing or end.disable_timing:
        raise runtime.CUDARuntimeError("cudaErrorInvalidResourceHandle: invalid resource handle")
    if start.at is None or end.at is None:
        raise runtime.CUDARuntimeError("cudaErrorInvalidResourceHandle: invalid resource handle")
    return (end.at - start.at) * 1000


def is_available() -> bool:
    return True


# --- runtime

runtime: Any = types.ModuleType("cupy.cuda.runtime")
runtime.CUDARuntimeError = type("CUDARuntimeError", (RuntimeError,), {})
runtime.runtimeGetVersion = lambda: 13020
runtime.driverGetVersion = lambda: 13020
runtime.getDeviceCount = lambda: DEVICES
runtime.getDevice = lambda: current.device
runtime.deviceSynchronize = count_sync
runtime.memGetInfo = lambda: (TOTAL_MEMORY - pool.total[current.device], TOTAL_MEMORY)
runtime.getDeviceProperties = lambda device: {
    "name": b"NumPy pretending to be a card",
    "major": 9,
    "minor": 0,
    "totalGlobalMem": TOTAL_MEMORY,
    "multiProcessorCount": 1,
    "maxThreadsPerMultiProcessor": 2048,
    "warpSize": 32,
    "sharedMemPerBlock": 49152,
    "sharedMemPerMultiprocessor": 233472,
    "regsPerMultiprocessor": 65536,
    "l2CacheSize": 1 << 20,
    "clockRate": 1_000_000,
    "integrated": 0,
    "isMultiGpuBoard": 0,
    "uuid": bytes(16),
    "pciBusID": 0,
    "pciDeviceID": device,
    "pciDomainID": 0,
}
sys.modules["cupy.cuda.runtime"] = runtime
memory: Any = types.ModuleType("cupy.cuda.memory")
memory.OutOfMemoryError = OutOfMemoryError
memory.MemoryPool, memory.MemoryPointer = MemoryPool, MemoryPointer
sys.modules["cupy.cuda.memory"] = memory
