"""Shared memory without names: anonymous files, arenas of slots that are used again, leases, and the budget.

A worker owns its arenas.  An arena is one anonymous file cut into slots of one size; a batch is written into
a slot and read there by the parent, which holds a *lease* on it as long as any array of the batch is alive.
The worker maps the file for writing, the parent maps the same file: nothing has a name, so nothing can be
left behind.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import tempfile
import weakref
from collections import deque
from typing import Any

import numpy as np

__all__ = [
    "ALIGNMENT",
    "Arena",
    "Lease",
    "MappedArena",
    "SlotWriter",
    "anonymous_file",
    "available_memory",
    "shm_limit",
]

ALIGNMENT = 64
PAGE = mmap.PAGESIZE
INLINE = 8192  # bytes: a smaller batch travels in its message; a slot costs as much as copying 8 KiB
IDLE_BATCHES = 16  # an extra arena that nobody used for so many batches is given back


def anonymous_file(size: int, *, memfd: bool = True) -> int:
    """A descriptor of ``size`` bytes of memory that has no name (or loses it at once).

    Linux has ``memfd_create``; elsewhere a temporary file, unlinked before it is used.
    """
    if memfd and hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("accelgrad-batches", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, size)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def map_shared(descriptor: int, size: int) -> mmap.mmap:
    """Map a file for reading and writing, without keeping a descriptor open.

    Before Python 3.13 (``trackfd``) an ``mmap`` object duplicates its descriptor and keeps it: a thousand
    retained batches would hold hundreds.  There the object is made over nothing, and the file is mapped into
    its place.
    """
    if sys.version_info >= (3, 13):
        return mmap.mmap(descriptor, size, trackfd=False)
    if sys.platform != "linux":
        return mmap.mmap(descriptor, size)
    place = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int64,
    ]
    address = ctypes.addressof(ctypes.c_ubyte.from_buffer(place))
    fixed = 0x10  # MAP_FIXED, on every Linux
    protection, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | fixed
    if libc.mmap(address, size, protection, flags, descriptor, 0) != address:
        place.close()
        return mmap.mmap(descriptor, size)
    return place


def round_up(value: int, unit: int) -> int:
    """The smallest multiple of ``unit`` that is at least ``value``."""
    return -(-value // unit) * unit


# --- budget


def _read_number(path: str) -> int | None:
    try:
        with open(path) as file:
            text = file.read().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # "max" means no limit


def _cgroup_room(proc: str = "/proc/self/cgroup", root: str = "/sys/fs/cgroup") -> int | None:
    """What the control group, and every group above it, still allows; None where there is no limit."""
    try:
        with open(proc) as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    rooms = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, limit, usage, cache = root, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            base, cache = os.path.join(root, "memory"), "total_inactive_file"
            limit, usage = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."]
        for depth in range(
            len(parts) + 1
        ):  # inside a container the path may be the host's: missing files are skipped
            folder = os.path.join(base, *parts[:depth])
            allowed, used = (
                _read_number(os.path.join(folder, limit)),
                _read_number(os.path.join(folder, usage)),
            )
            if allowed is not None and used is not None and allowed < 1 << 60:
                rooms.append(allowed - used + _reclaimable(os.path.join(folder, "memory.stat"), cache))
    return max(min(rooms), 0) if rooms else None


def _reclaimable(path: str, name: str) -> int:
    try:
        with open(path) as file:
            for line in file:
                key, _, value = line.partition(" ")
                if key == name:
                    return int(value)
    except (OSError, ValueError):
        pass
    return 0


def available_memory(meminfo: str = "/proc/meminfo") -> int:
    """Bytes that can be taken without swapping or being killed: /proc/meminfo's MemAvailable, the cgroup's
    room."""
    available = 1 << 62
    try:
        with open(meminfo) as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    available = int(line.split()[1]) * 1024
                    break
    except OSError:
        pass
    room = _cgroup_room()
    return available if room is None else min(available, room)


def shm_limit(text: str | None) -> int | None:
    """``ACCELGRAD_SHM_LIMIT`` in bytes: a number, or one with K, M or G (KiB, MiB, GiB); None where it is not
    set."""
    if not text:
        return None
    number, unit = (text[:-1], text[-1].upper()) if text[-1].isalpha() else (text, "")
    units = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    try:
        return int(float(number) * units[unit])
    except (KeyError, ValueError):
        raise ValueError(
            f"ACCELGRAD_SHM_LIMIT={text!r} is not a size; write bytes, or 512K, 64M, 2G"
        ) from None


# --- worker's side


class Arena:
    """One anonymous file of equal slots, as its owner sees it."""

    def __init__(self, number: int, slot_size: int, slots: int) -> None:
        self.number = number
        self.slot_size = slot_size
        self.slots = slots
        self.descriptor = anonymous_file(slot_size * slots)
        self.map = map_shared(self.descriptor, slot_size * slots)
        self.free: list[int] = []  # taken from the end: the slot returned last is warm in the cache
        self.allocated: set[int] = set()  # slots whose pages exist
        self.type = ctypes.c_ubyte * slot_size
        self.uses: dict[int, int] = {}  # slot -> number of the use that the parent has to give back
        self.held: dict[int, weakref.ref[Any]] = {}  # slots of which arrays are still alive in this process
        self.idle = 0

    def take(self) -> int | None:
        """A free slot whose memory exists already, or None."""
        for position in range(len(self.free) - 1, -1, -1):
            slot = self.free[position]
            held = self.held.get(slot)
            if held is None or held() is None:  # else the dataset kept an array of an earlier batch
                del self.free[position]
                return slot
        return None

    def grow(self) -> int | None:
        """A slot that was never used, its memory made present now; None where there is none, or no memory."""
        if len(self.allocated) == self.slots:
            return None
        slot = len(self.allocated)
        try:
            _reserve(self.descriptor, slot * self.slot_size, self.slot_size)
        except OSError:
            return None
        self.allocated.add(slot)
        return slot

    def owner(self, slot: int) -> Any:
        """The object that arrays in ``slot`` are views of."""
        owner = self.type.from_buffer(self.map, slot * self.slot_size)
        self.held[slot] = weakref.ref(owner)
        return owner

    @property
    def in_use(self) -> bool:
        """Whether the parent, or this process, still refers to a slot."""
        return len(self.free) < len(self.allocated)

    def close(self) -> None:
        """Give the file back; arrays that are alive keep the mapping."""
        os.close(self.descriptor)
        self.descriptor = -1


def _reserve(descriptor: int, offset: int, size: int) -> None:
    """Make the pages exist now: a lack of memory is an OSError here, not a SIGBUS at the first write."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, offset, size)
        return
    os.lseek(descriptor, offset, os.SEEK_SET)  # macOS
    zeros = bytes(min(size, 1 << 20))
    while size > 0:
        size -= os.write(descriptor, zeros[:size])


class SlotWriter:
    """A worker's memory for batches: hands out arrays within the current slot, and finds a slot for any
    batch.

    ``announce(arena)`` and ``retire(number)`` tell the parent of a new arena (before its first use) and of
    one that is given up.  ``limit``: the bytes that all arenas together may take.
    """

    def __init__(self, slots: int, limit: int | None, share: float, announce: Any, retire: Any) -> None:
        self.slots = slots
        self.limit = limit
        self.share = share  # of the free memory, that this worker may take at once
        self.announce = announce
        self.retire = retire
        self.arenas: dict[int, Arena] = {}
        self.numbers = 0
        self.expected = 0  # the need of the batch before
        self.over_budget: str | None = None  # why the last batch had to go another way
        self.last: Arena | None = None
        self.use = 0
        self.moved = False
        self._reset()

    def _reset(self) -> None:
        self.arena: Arena | None = None
        self.slot = -1
        self.memory: Any = None
        self.used = 0
        # id(array) -> its offset, and the array, so that the id stays its
        self.handed: dict[int, tuple[int, np.ndarray]] = {}

    def begin(self) -> None:
        """Start a batch: what the last one took is the parent's now."""
        self._reset()
        self.over_budget = None

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An uninitialised array, in the current slot where there is room (see :func:`empty_batch`)."""
        size = dtype.itemsize
        for extent in shape:
            size *= int(extent)
        if self.expected <= INLINE or size == 0 or dtype.hasobject:
            return np.empty(shape, dtype)
        if self.arena is None and not self._take(self.expected):
            return np.empty(shape, dtype)
        arena = self.arena
        if arena is None or self.used + size > arena.slot_size:
            return np.empty(shape, dtype)
        array: np.ndarray = np.ndarray(shape, dtype, self.memory, self.used)
        self.handed[id(array)] = (self.used, array)
        self.used += round_up(size, ALIGNMENT)
        return array

    def offset_of(self, array: np.ndarray) -> int | None:
        """Where in the current slot ``array`` lies, if it was handed out for this batch."""
        entry = self.handed.get(id(array))
        return None if entry is None else entry[0]

    def place(self, sizes: list[int]) -> tuple[Arena, int, list[int]] | None:
        """Room for arrays that are not in the slot yet: (arena, slot, their offsets); None to send them in
        the message.

        Where the current slot is too small everything moves into a larger one: then the offsets handed out
        before are void, which :attr:`moved` tells.
        """
        need = self.used + sum(round_up(size, ALIGNMENT) for size in sizes)
        self.expected, self.moved = need, False
        if need <= INLINE and self.arena is None:
            return None
        if self.arena is None or need > self.arena.slot_size:
            earlier = (self.arena, self.slot, self.memory, self.used, self.handed)
            self.arena = None
            if not self._take(need):
                self.arena, self.slot, self.memory, self.used, self.handed = earlier
                return None
            if earlier[0] is not None:
                earlier[0].free.append(earlier[1])
                self.moved = True
                return None
        offsets = []
        for size in sizes:
            offsets.append(self.used)
            self.used += round_up(size, ALIGNMENT)
        arena = self.arena
        assert arena is not None
        return arena, self.slot, offsets

    def give_back(self) -> None:
        """The batch did not use its slot after all (it failed, or travels in its message)."""
        if self.arena is not None:
            self.arena.free.append(self.slot)
            self._reset()

    def _take(self, need: int) -> bool:
        """Make a slot of at least ``need`` bytes the current one: a used one, a new one, or one of a new
        arena."""
        fitting = [arena for arena in self.arenas.values() if arena.slot_size >= need]
        for arena in fitting:
            if (slot := arena.take()) is not None:
                return self._enter(arena, slot)
        for arena in fitting:
            if len(arena.allocated) < arena.slots:
                if not self._affordable(arena.slot_size):
                    return False
                if (slot := arena.grow()) is not None:
                    return self._enter(arena, slot)
        for arena in list(self.arenas.values()):  # too small for what batches need now
            if arena.slot_size < need and not arena.in_use:
                self._drop(arena)
        # A little room to grow: sequences are padded to another length in each batch.
        slot_size = round_up(need + need // 8, PAGE)
        if not self._affordable(slot_size):
            slot_size = round_up(need, PAGE)
            if not self._affordable(slot_size):
                return False
        self.over_budget = None
        try:
            # Memory is taken slot by slot; a file is only the room for them, so that many retained batches
            # need few.
            new = Arena(self.numbers, slot_size, self.slots << min(len(fitting), 8))
        except OSError as error:
            self.over_budget = f"shared memory could not be had ({error})"
            return False
        slot = new.grow()
        if slot is None:
            new.close()
            self.over_budget = "the system has no memory left for it"
            return False
        self.numbers += 1
        self.arenas[new.number] = new
        self.announce(new)
        return self._enter(new, slot)

    def _enter(self, arena: Arena, slot: int) -> bool:
        self._reset()
        self.last = arena
        self.arena, self.slot, self.memory = arena, slot, arena.owner(slot)
        return True

    def _total(self) -> int:
        return sum(arena.slot_size * len(arena.allocated) for arena in self.arenas.values())

    def _affordable(self, slot_size: int) -> bool:
        if self.limit is not None and self._total() + slot_size > self.limit:
            self.over_budget = (
                f"this worker's share of ACCELGRAD_SHM_LIMIT is {self.limit} bytes, of which {self._total()}"
                " are in use"
            )
            return False
        free = available_memory()
        if slot_size > free * self.share:
            self.over_budget = (
                f"it needs {slot_size} bytes and only {free} are free, for all workers together"
            )
            return False
        return True

    def returned(self, number: int, slot: int, use: int) -> None:
        """The parent has finished with a slot; hearing it twice, or late, does no harm: every use has its
        number."""
        arena = self.arenas.get(number)
        if arena is not None and arena.uses.get(slot) == use:
            del arena.uses[slot]
            arena.free.append(slot)

    def lend(self) -> int:
        """The current slot goes to the parent; the number of this use, which it names when it gives the slot
        back."""
        self.use += 1
        if self.arena is not None:
            self.arena.uses[self.slot] = self.use
        return self.use

    def tidy(self) -> None:
        """After a batch: give up extra arenas that have been idle for a while."""
        if len(self.arenas) < 2:
            return
        for arena in list(self.arenas.values()):
            arena.idle = 0 if arena.in_use or arena is self.last else arena.idle + 1
            if arena.idle > IDLE_BATCHES:
                self._drop(arena)

    def _drop(self, arena: Arena) -> None:
        del self.arenas[arena.number]
        arena.close()
        self.retire(arena.number)


# --- parent's side


class Lease(weakref.ref):
    """A weak reference to the memory of one batch; when that dies the lease itself is put into a queue.

    The callback is ``deque.append``: it runs in C, needs no lock, and may run in any thread and at any
    moment.
    """

    __slots__ = ("arena", "slot", "use")
    arena: int
    slot: int
    use: int


class MappedArena:
    """A worker's arena, as the parent sees it."""

    def __init__(self, number: int, slot_size: int, slots: int, descriptor: int) -> None:
        self.number = number
        self.map = map_shared(descriptor, slot_size * slots)
        self.slot_size = slot_size
        self.type = ctypes.c_ubyte * slot_size
        self.leases: dict[int, Lease] = {}

    def lease(self, slot: int, use: int, memory: list[Any], returned: deque[Any]) -> Any:
        """The memory of ``slot``; once nothing refers to it any more its Lease is appended to ``returned``.

        ``memory`` is the caller's list that keeps it until then.  It is filled by one call in C, and
        everything else may be repeated, so that an interrupt can neither lose the memory nor give it back
        early.
        """
        if not memory:
            memory.extend(map(self.type.from_buffer, (self.map,), (slot * self.slot_size,)))
        lease = Lease(memory[0], returned.append)
        lease.arena, lease.slot, lease.use = self.number, slot, use
        self.leases[slot] = lease
        return memory[0]

    def keep_leased(self) -> None:
        """Never hand back the slots that are leased now: a fork of this process sees them, too."""
        self.leases.clear()  # a weak reference that is gone calls nothing
