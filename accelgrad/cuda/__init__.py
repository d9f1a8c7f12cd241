"""The card under PyTorch's names (``torch.cuda``): devices, streams, events, memory.

Everything goes through CuPy.  :func:`is_available` and :func:`status` never raise; what needs a card
raises the one error that names what is missing (:func:`accelgrad.arrays.gpu.require`).  Examples need a card,
unless they say otherwise.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from accelgrad import random
from accelgrad.arrays import gpu
from accelgrad.arrays.backend import CPU, Device
from accelgrad.arrays.gpu import OutOfMemoryError, Status
from accelgrad.core.tensor import wrap

__all__ = [
    "Event", "OutOfMemoryError", "Status", "Stream", "amp", "can_device_access_peer", "current_device",
    "current_stream", "default_stream", "device", "device_count", "device_of", "empty_cache",
    "get_arch_list", "get_device_capability", "get_device_name", "get_device_properties",
    "get_rng_state", "get_rng_state_all", "init", "initial_seed", "ipc_collect", "is_available",
    "is_initialized", "manual_seed", "manual_seed_all", "max_memory_allocated", "max_memory_reserved",
    "mem_get_info", "memory_allocated", "memory_reserved", "memory_stats", "memory_summary",
    "reset_max_memory_allocated", "reset_peak_memory_stats", "seed", "seed_all", "set_device",
    "set_per_process_memory_fraction", "set_rng_state", "set_rng_state_all", "set_stream", "status",
    "stream", "synchronize",
]  # fmt: skip


def is_available() -> bool:
    """Whether ``device="gpu"`` works here; never raises.

    >>> is_available() == status().ok
    True
    """
    return gpu.status().ok


def status() -> Status:
    """Return (ok, code, message): whether the card can be used, and if not, why and what installs it.

    It never raises.
    """
    return gpu.status()


def is_initialized() -> bool:
    """Whether this process has used a card."""
    return gpu.meter.cache_info().currsize > 0


def init() -> None:
    """Find the card now rather than at first use; RuntimeError with the cause where there is none."""
    _cupy()
    gpu.meter()


def device_count() -> int:
    """How many cards can be used: 0 where none can.

    >>> device_count() >= 0
    True
    """
    return int(_cupy().cuda.runtime.getDeviceCount()) if is_available() else 0


def _cupy() -> Any:
    gpu.require()
    return sys.modules["cupy"]


def _index(where: Any = None) -> int:
    """The number of a card from None (the current one), a number, "cuda:1" or a device."""
    if where is None:
        return gpu.current_device()
    chosen = Device(where)
    if chosen.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {chosen}")
    index = gpu.current_device() if chosen.index is None else chosen.index
    gpu.require(index)
    return index


# --- devices


def current_device() -> int:
    """The index of the card on which new arrays are made."""
    return gpu.current_device()


def set_device(device: Any) -> None:
    """Make new arrays on this card from here on (in this thread)."""
    _cupy().cuda.Device(_index(device)).use()


class device:
    """A block in which another card is the current one; None or a negative index changes nothing."""

    def __init__(self, device: Any) -> None:
        self.idx = -1 if device is None or device == -1 else _index(device)
        self._entered: Any = None

    def __enter__(self) -> device:
        if self.idx >= 0:
            self._entered = _cupy().cuda.Device(self.idx)
            self._entered.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._entered is not None:
            self._entered.__exit__(*exception)
            self._entered = None


class device_of(device):
    """A block in which the card of a tensor is the current one; a tensor on the CPU changes nothing."""

    def __init__(self, obj: Any) -> None:
        super().__init__(obj.get_device() if getattr(obj, "is_cuda", False) else None)


@dataclass(frozen=True)
class Properties:
    """What a card can do."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    max_threads_per_multi_processor: int
    warp_size: int
    shared_memory_per_block: int
    L2_cache_size: int


def get_device_properties(device: Any = None) -> Properties:
    """Name, compute capability, memory and multiprocessors of a card."""
    found = _cupy().cuda.runtime.getDeviceProperties(_index(device))
    name = found["name"]
    return Properties(
        name.decode() if isinstance(name, bytes) else name,
        int(found["major"]),
        int(found["minor"]),
        int(found["totalGlobalMem"]),
        int(found["multiProcessorCount"]),
        int(found.get("maxThreadsPerMultiProcessor", 0)),
        int(found.get("warpSize", 32)),
        int(found.get("sharedMemPerBlock", 0)),
        int(found.get("l2CacheSize", 0)),
    )


def get_device_name(device: Any = None) -> str:
    """The maker's name of a card."""
    return get_device_properties(device).name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability (major, minor), e.g. (9, 0)."""
    properties = get_device_properties(device)
    return properties.major, properties.minor


def get_arch_list() -> list[str]:
    """The capability of the cards here, in PyTorch's form: everything is compiled for them when it is needed.

    >>> all(one.startswith("sm_") for one in get_arch_list())
    True
    """
    found = {get_device_capability(index) for index in range(device_count())}
    return [f"sm_{major}{minor}" for major, minor in sorted(found)]


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Whether one card can read another's memory."""
    first, second = _index(device), _index(peer_device)
    return first != second and bool(_cupy().cuda.runtime.deviceCanAccessPeer(first, second))


def synchronize(device: Any = None) -> None:
    """Wait until everything that was asked of a card is done; errors of earlier work appear here."""
    _cupy().cuda.Device(_index(device)).synchronize()


# --- streams and events


class Stream:
    """A queue of work on one card; work in different streams may overlap.

    ``with accelgrad.cuda.stream(s): ...`` puts the work of the block into ``s``.
    """

    def __init__(self, device: Any = None, priority: int = 0, *, wrapped: Any = None) -> None:
        index = _index(device)
        self.device = Device("cuda", index)
        self.priority = priority
        if wrapped is None:
            with _cupy().cuda.Device(index):
                wrapped = _cupy().cuda.Stream(non_blocking=True, priority=priority)
        self.cupy = wrapped

    @property
    def cuda_stream(self) -> int:
        """The address by which CUDA knows it."""
        return int(self.cupy.ptr)

    def synchronize(self) -> None:
        """Wait until everything in this stream is done."""
        self.cupy.synchronize()

    def query(self) -> bool:
        """Whether everything in this stream is done."""
        return bool(self.cupy.done)

    def record_event(self, event: Event | None = None) -> Event:
        """Put a mark into this stream."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """What comes later in this stream waits for the mark."""
        self.cupy.wait_event(event.cupy)

    def wait_stream(self, stream: Stream) -> None:
        """What comes later in this stream waits for what is in the other one now."""
        self.wait_event(stream.record_event())

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Stream)
            and other.cuda_stream == self.cuda_stream
            and other.device == self.device
        )

    def __hash__(self) -> int:
        return hash((self.device, self.cuda_stream))

    def __repr__(self) -> str:
        return f"<accelgrad.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"


@contextlib.contextmanager
def stream(stream: Stream | None) -> Iterator[None]:
    """Put the work of a block into this stream of its card; None changes nothing."""
    if stream is None:
        yield
        return
    with device(stream.device), stream.cupy:
        yield


def set_stream(stream: Stream | None) -> None:
    """Put all work of this thread into this stream of its card from here on; None changes nothing."""
    if stream is not None:
        set_device(stream.device)
        stream.cupy.use()


def current_stream(device: Any = None) -> Stream:
    """The stream that work goes to now."""
    index = _index(device)
    with _cupy().cuda.Device(index):
        return Stream(index, wrapped=_cupy().cuda.get_current_stream())


def default_stream(device: Any = None) -> Stream:
    """The stream that work goes to outside of every ``with stream``."""
    return Stream(device, wrapped=_cupy().cuda.Stream.null)


class Event:
    """A mark in a stream; two of them with ``enable_timing=True`` measure the time between them."""

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        self.enable_timing = enable_timing
        self.recorded = False
        self.cupy = _cupy().cuda.Event(
            block=blocking, disable_timing=not enable_timing, interprocess=interprocess
        )

    def record(self, stream: Stream | None = None) -> None:
        """Put the mark into a stream (the current one)."""
        self.cupy.record(None if stream is None else stream.cupy)
        self.recorded = True

    def wait(self, stream: Stream | None = None) -> None:
        """What comes later in a stream (the current one) waits for the mark."""
        (current_stream() if stream is None else stream).wait_event(self)

    def synchronize(self) -> None:
        """Wait until the mark has been passed."""
        self.cupy.synchronize()

    def query(self) -> bool:
        """Whether the mark has been passed."""
        return bool(self.cupy.done)

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this mark to a later one.

        ValueError where one does not measure or was not recorded.
        """
        if not (self.enable_timing and end_event.enable_timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if not (self.recorded and end_event.recorded):
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        end_event.synchronize()
        return float(_cupy().cuda.get_elapsed_time(self.cupy, end_event.cupy))


# --- memory


def memory_allocated(device: Any = None) -> int:
    """The bytes that arrays hold on a card now."""
    with _cupy().cuda.Device(_index(device)):
        return int(_cupy().get_default_memory_pool().used_bytes())


def memory_reserved(device: Any = None) -> int:
    """The bytes that CuPy's pool has taken from a card: what arrays hold and what it keeps for reuse."""
    with _cupy().cuda.Device(_index(device)):
        return int(_cupy().get_default_memory_pool().total_bytes())


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that arrays held at one time since the first call of this function or of the reset.

    Counting costs a little for every array, so it begins with the first question.
    """
    index = _index(device)
    if index not in gpu.meter().peak:
        gpu.meter().restart(index)
    return max(gpu.meter().peak[index], memory_allocated(index))


def max_memory_reserved(device: Any = None) -> int:
    """The bytes that the pool holds: it grows only, until :func:`empty_cache`."""
    return memory_reserved(device)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Begin to count the peak anew, from what is held now."""
    gpu.meter().restart(_index(device))


def reset_max_memory_allocated(device: Any = None) -> None:
    """The older name of :func:`reset_peak_memory_stats`."""
    reset_peak_memory_stats(device)


def memory_stats(device: Any = None) -> dict[str, int]:
    """The figures of this file under PyTorch's keys, as far as CuPy's pool knows them (in bytes)."""
    index = _index(device)
    allocated, reserved = memory_allocated(index), memory_reserved(index)
    return {
        "allocated_bytes.all.current": allocated,
        "allocated_bytes.all.peak": max_memory_allocated(index),
        "reserved_bytes.all.current": reserved,
        "reserved_bytes.all.peak": max_memory_reserved(index),
        "inactive_split_bytes.all.current": reserved - allocated,
    }


def set_per_process_memory_fraction(fraction: float, device: Any = None) -> None:
    """Let arrays take at most this part of a card's memory; ValueError outside of 0 ... 1."""
    if not 0 <= fraction <= 1:
        raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
    with _cupy().cuda.Device(_index(device)):
        _cupy().get_default_memory_pool().set_limit(fraction=fraction)


def ipc_collect() -> None:
    """Memory is not shared with other processes here, so there is nothing to collect."""


def empty_cache() -> None:
    """Give the memory that the pools keep for reuse back to the system."""
    if is_available():
        _cupy().get_default_memory_pool().free_all_blocks()
        pinned = getattr(_cupy(), "get_default_pinned_memory_pool", None)
        if pinned is not None:
            pinned().free_all_blocks()


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """(free, total) bytes of a card, over all processes."""
    with _cupy().cuda.Device(_index(device)):
        free, total = _cupy().cuda.runtime.memGetInfo()
    return int(free), int(total)


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """A table of a card's memory and, unless abbreviated, of the largest tensors that live there."""
    index = _index(device)
    free, total = mem_get_info(index)
    rows = [
        ("held by arrays", memory_allocated(index)),
        ("kept for reuse", memory_reserved(index) - memory_allocated(index)),
        ("free on the card", free),
        ("size of the card", total),
    ]
    lines = [f"memory of cuda:{index} ({get_device_name(index)})"]
    lines += [f"  {name:18}{gpu.readable(size):>12}" for name, size in rows]
    if not abbreviated:
        lines += [f"  {gpu.readable(size):>12}  {text}" for size, text in gpu.largest_tensors(index)]
    return "\n".join(lines)


# --- random numbers


def manual_seed(seed: int) -> None:
    """Seed the default generator, from which cards and CPU draw alike; without a card it does the same."""
    random.manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Seed every card: they all draw from the default generator."""
    random.manual_seed(seed)


def seed() -> None:
    """Give the default generator a seed that nobody can foretell."""
    random.seed()


seed_all = seed


def initial_seed() -> int:
    """The seed of the default generator, from which cards draw too."""
    return random.initial_seed()


def get_rng_state(device: Any = "cuda") -> Any:
    """The state of the generator from which cards draw, as a ByteTensor on the CPU."""
    return wrap(random.default_generator.get_state(), CPU)


def set_rng_state(new_state: Any, device: Any = "cuda") -> None:
    """Return to a state that :func:`get_rng_state` gave."""
    random.default_generator.set_state(new_state)


def get_rng_state_all() -> list[Any]:
    """The state for every card: all draw from one generator."""
    return [get_rng_state(index) for index in range(device_count())]


def set_rng_state_all(new_states: Any) -> None:
    """Return to the states that :func:`get_rng_state_all` gave."""
    for state in new_states[:1]:
        set_rng_state(state)


def __getattr__(name: str) -> Any:
    if name == "amp":  # imported when it is named
        return importlib.import_module("accelgrad.cuda.amp")
    raise AttributeError(f"module 'accelgrad.cuda' has no attribute {name!r}")
