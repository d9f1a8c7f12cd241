"""Shared memory without names: anonymous files, arenas of slots that are used again, leases, and the budget.

A worker owns its arenas.  An arena is one anonymous file, divided into slots of one size.  The worker writes
a batch into a slot; the program maps the same file and reads the batch there, and holds a *lease* on the slot
as long as any array of the batch is alive.  The file has no name, so nothing can be left behind.
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
    """Return the descriptor of ``size`` bytes of memory that has no name, or loses it at once.

    Linux has ``memfd_create``; elsewhere it is a temporary file, deleted before it is used.
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

    Before Python 3.13 (``trackfd``) an ``mmap`` object keeps a duplicate of its descriptor: a thousand
    retained batches would hold hundreds.  There the object is made over empty memory, and the file is then
    mapped to the same address.
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
    """Return the smallest multiple of ``unit`` that is at least ``value``."""
    return -(-value // unit) * unit


# --- budget


def _read_number(path: str) -> int | None:
    """Return the number in a file of the control group; None for no limit, or where there is no file."""
    try:
        with open(path) as file:
            text = file.read().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # "max" means no limit


def _cgroup_room(proc: str = "/proc/self/cgroup", root: str = "/sys/fs/cgroup") -> int | None:
    """Return the bytes that the control group and every group above it still allow; None without a limit."""
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
        # Inside a container the path may be the host's: files that are missing are skipped.
        for depth in range(len(parts) + 1):
            folder = os.path.join(base, *parts[:depth])
            allowed, used = (
                _read_number(os.path.join(folder, limit)),
                _read_number(os.path.join(folder, usage)),
            )
            if allowed is not None and used is not None and allowed < 1 << 60:
                rooms.append(allowed - used + _reclaimable(os.path.join(folder, "memory.stat"), cache))
    return max(min(rooms), 0) if rooms else None


def _reclaimable(path: str, name: str) -> int:
    """Return the bytes that the kernel can take back from the page cache, entry ``name`` of memory.stat."""
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
    """Return the bytes that can be taken without swapping: MemAvailable, or what the cgroup allows."""
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
    """Return ``ACCELGRAD_SHM_LIMIT`` in bytes; None if it is not set.

    ``text`` is a number, or one followed by K, M or G (KiB, MiB, GiB); ValueError for anything else.
    """
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
    """One anonymous file of equal slots, on the side of the worker that owns it."""

    def __init__(self, number: int, slot_size: int, slots: int) -> None:
        self.number = number
        self.slot_size = slot_size
        self.slots = slots
        self.descriptor = anonymous_file(slot_size * slots)
        self.map = map_shared(self.descriptor, slot_size * slots)
        self.free: list[int] = []  # taken from the end: the slot returned last is warm in the cache
        self.allocated: set[int] = set()  # slots whose pages exist
        self.type = ctypes.c_ubyte * slot_size
        self.uses: dict[int, int] = {}  # slot -> number of the use that the program has to give back
        self.held: dict[int, weakref.ref[Any]] = {}  # slots of which arrays are still alive in this process
        self.idle = 0

    def take(self) -> int | None:
        """Return a free slot whose memory exists already, or None."""
        for position in range(len(self.free) - 1, -1, -1):
            slot = self.free[position]
            held = self.held.get(slot)
            if held is None or held() is None:  # else the dataset kept an array of an earlier batch
                del self.free[position]
                return slot
        return None

    def grow(self) -> int | None:
        """Return a slot that was never used, with its pages allocated; None without a slot or memory."""
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
        """Return the object over the bytes of ``slot``, which arrays in it are views of."""
        owner = self.type.from_buffer(self.map, slot * self.slot_size)
        self.held[slot] = weakref.ref(owner)
        return owner

    @property
    def in_use(self) -> bool:
        """True while a slot is lent to the program, or used by this process."""
        return len(self.free) < len(self.allocated)

    def close(self) -> None:
        """Close the file; arrays that are alive keep their memory."""
        os.close(self.descriptor)
        self.descriptor = -1


def _reserve(descriptor: int, offset: int, size: int) -> None:
    """Allocate the pages now: a lack of memory is an OSError here, and not a SIGBUS at the first write."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, offset, size)
        return
    os.lseek(descriptor, offset, os.SEEK_SET)  # macOS
    zeros = bytes(min(size, 1 << 20))
    while size > 0:
        size -= os.write(descriptor, zeros[:size])


class SlotWriter:
    """A worker's memory for batches: it finds a slot for each batch, and hands out arrays in that slot.

    ``announce(arena)`` and ``retire(number)`` tell the program of a new arena (before its first use) and of
    one that is given up.  ``limit`` is the number of bytes that all arenas together may take.
    """

    def __init__(self, slots: int, limit: int | None, share: float, announce: Any, retire: Any) -> None:
        self.slots = slots
        self.limit = limit
        self.share = share  # of the free memory, that this worker may take at once
        self.announce = announce
        self.retire = retire
        self.arenas: dict[int, Arena] = {}
        self.numbers = 0
        self.expected = 0  # bytes that the batch before needed
        self.over_budget: str | None = None  # why the last batch had to travel in its message
        self.last: Arena | None = None
        self.use = 0
        self.moved = False
        self._reset()

    def _reset(self) -> None:
        """Forget the current slot."""
        self.arena: Arena | None = None
        self.slot = -1
        self.memory: Any = None
        self.used = 0
        # id(array) -> its offset, and the array itself, so that no other one can get the same id
        self.handed: dict[int, tuple[int, np.ndarray]] = {}

    def begin(self) -> None:
        """Start a batch: the slot of the one before now belongs to the program."""
        self._reset()
        self.over_budget = None

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return an uninitialised array, in the current slot if there is room; see :func:`empty_batch`."""
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
        """Return the offset of ``array`` in the current slot; None if this batch did not allocate it."""
        entry = self.handed.get(id(array))
        return None if entry is None else entry[0]

    def place(self, sizes: list[int]) -> tuple[Arena, int, list[int]] | None:
        """Find room for arrays of these sizes, which are not in the slot yet: (arena, slot, their offsets).

        None where they have to travel in the message; also where the current slot is too small and a larger
        one has taken its place: then :attr:`moved` is true, and all arrays of the batch need a place there.
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
        """Free the current slot: its batch failed, or travels in its message."""
        if self.arena is not None:
            self.arena.free.append(self.slot)
            self._reset()

    def _take(self, need: int) -> bool:
        """Make a slot of at least ``need`` bytes the current one; False where there is none to be had."""
        # A slot that was used before, or a new one in an arena that there is.
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
        # Arenas that are too small for today's batches are given up.
        for arena in list(self.arenas.values()):
            if arena.slot_size < need and not arena.in_use:
                self._drop(arena)
        # A new arena, with a little room to grow: padded sequences have another length in each batch.
        slot_size = round_up(need + need // 8, PAGE)
        if not self._affordable(slot_size):
            slot_size = round_up(need, PAGE)
            if not self._affordable(slot_size):
                return False
        self.over_budget = None
        try:
            # A file takes memory only for slots in use; so it can be large, and few files hold many batches.
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
        """Make a slot the current one."""
        self._reset()
        self.last = arena
        self.arena, self.slot, self.memory = arena, slot, arena.owner(slot)
        return True

    def _total(self) -> int:
        """Return the bytes that all arenas take."""
        return sum(arena.slot_size * len(arena.allocated) for arena in self.arenas.values())

    def _affordable(self, slot_size: int) -> bool:
        """Return whether there is memory for one more slot; if not, :attr:`over_budget` says why."""
        if self.limit is not None and self._total() + slot_size > self.limit:
            self.over_budget = (
                f"this worker's share of ACCELGRAD_SHM_LIMIT is {self.limit} bytes,"
                f" of which {self._total()} are in use"
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
        """Free a slot that the program has finished with; told twice, or late, it does no harm.

        Every use of a slot has a number, so an old message cannot free it for a batch that uses it now.
        """
        arena = self.arenas.get(number)
        if arena is not None and arena.uses.get(slot) == use:
            del arena.uses[slot]
            arena.free.append(slot)

    def lend(self) -> int:
        """Lend the current slot to the program, and return the number of this use of it."""
        self.use += 1
        if self.arena is not None:
            self.arena.uses[self.slot] = self.use
        return self.use

    def tidy(self) -> None:
        """Give up arenas that have been idle for many batches; called after each one."""
        if len(self.arenas) < 2:
            return
        for arena in list(self.arenas.values()):
            arena.idle = 0 if arena.in_use or arena is self.last else arena.idle + 1
            if arena.idle > IDLE_BATCHES:
                self._drop(arena)

    def _drop(self, arena: Arena) -> None:
        """Give up an arena, and tell the program."""
        del self.arenas[arena.number]
        arena.close()
        self.retire(arena.number)


# --- program's side


class Lease(weakref.ref):
    """A weak reference to the memory of one batch, which puts itself into a queue when that memory dies.

    The callback is ``deque.append``: it runs in C, needs no lock, and may run in any thread at any moment.
    """

    __slots__ = ("arena", "slot", "use")
    arena: int
    slot: int
    use: int


class MappedArena:
    """A worker's arena, on the side of the program."""

    def __init__(self, number: int, slot_size: int, slots: int, descriptor: int) -> None:
        self.number = number
        self.map = map_shared(descriptor, slot_size * slots)
        self.slot_size = slot_size
        self.type = ctypes.c_ubyte * slot_size
        self.leases: dict[int, Lease] = {}

    def lease(self, slot: int, use: int, memory: list[Any], returned: deque[Any]) -> Any:
        """Return the memory of ``slot``; when nothing refers to it any more its Lease goes to ``returned``.

        ``memory`` is the caller's list that keeps it until then.  It is filled by one call in C, and
        everything else may be repeated, so an interrupt can neither lose the memory nor give it back early.
        """
        if not memory:
            memory.extend(map(self.type.from_buffer, (self.map,), (slot * self.slot_size,)))
        lease = Lease(memory[0], returned.append)
        lease.arena, lease.slot, lease.use = self.number, slot, use
        self.leases[slot] = lease
        return memory[0]

    def keep_leased(self) -> None:
        """Never give back the slots that are leased now, since a fork of this process uses them too."""
        self.leases.clear()  # a weak reference that is gone calls nothing
