"""Arenas, leases and the budget."""

from __future__ import annotations

import gc
import os
from collections import deque

import numpy as np
import pytest

from accelgrad.utils.data import memory
from accelgrad.utils.data.memory import MappedArena, SlotWriter


class Pair:
    """A worker's writer, and the program's side of its arenas, in one process."""

    def __init__(self, slots=2, limit=None, share=0.5):
        self.mapped = {}
        self.returned = deque()
        self.writer = SlotWriter(slots, limit, share, self.announce, self.mapped.pop)

    def announce(self, arena):
        self.mapped[arena.number] = MappedArena(arena.number, arena.slot_size, arena.slots, arena.descriptor)

    def batch(self, size, fill):
        """Write a batch, and return the program's array, or None where it did not fit."""
        self.writer.begin()
        place = self.writer.place([size])
        if place is None:
            return None
        arena, slot, (offset,) = place
        np.ndarray((size,), np.uint8, self.writer.memory, offset)[...] = fill
        use = self.writer.lend()
        self.writer.tidy()
        owner = self.mapped[arena.number].lease(slot, use, [], self.returned)
        return np.ndarray((size,), np.uint8, owner, offset)

    def give_back(self):
        gc.collect()
        while self.returned:
            lease = self.returned.popleft()
            self.writer.returned(lease.arena, lease.slot, lease.use)


def test_a_slot_is_used_again_only_after_every_view_has_gone():
    pair = Pair()
    first = pair.batch(20_000, 1)
    view = memoryview(first[100:200])
    others = [pair.batch(20_000, i) for i in range(2, 12)]
    del first
    pair.give_back()
    assert bytes(view) == b"\1" * 100 and [int(other[0]) for other in others] == list(range(2, 12))
    del view, others
    pair.give_back()
    assert all(not arena.in_use for arena in pair.writer.arenas.values())


def test_one_batch_at_a_time_needs_one_slot():
    pair = Pair()
    for i in range(50):
        batch = pair.batch(20_000, i)
        assert batch[-1] == i
        del batch
        pair.give_back()
    (arena,) = pair.writer.arenas.values()
    assert len(arena.allocated) == 1


def test_giving_a_slot_back_twice_or_late_does_not_free_a_newer_use():
    pair = Pair()
    batch = pair.batch(20_000, 1)
    del batch
    gc.collect()
    lease = pair.returned[0]
    pair.give_back()
    newer = pair.batch(20_000, 2)
    pair.writer.returned(lease.arena, lease.slot, lease.use)
    another = pair.batch(20_000, 3)
    assert newer[0] == 2 and another[0] == 3


def test_extra_arenas_are_given_up_after_a_while():
    pair = Pair()
    kept = [pair.batch(20_000, i) for i in range(30)]
    assert len(pair.writer.arenas) > 2
    del kept
    pair.give_back()
    for i in range(memory.IDLE_BATCHES + 3):
        batch = pair.batch(20_000, i)
        del batch
        pair.give_back()
    assert len(pair.writer.arenas) <= 2 and len(pair.mapped) == len(pair.writer.arenas)


def test_growing_batches_move_to_larger_slots_and_the_small_arena_goes():
    pair = Pair()
    for size in (10_000, 50_000, 400_000):
        batch = pair.batch(size, 7)
        assert (batch == 7).all()
        del batch
        pair.give_back()
    assert len(pair.writer.arenas) == 1


def test_a_small_batch_needs_no_slot():
    assert Pair().batch(100, 1) is None


def test_the_limit_is_kept_and_the_reason_told():
    pair = Pair(limit=100_000)
    kept = []
    while (batch := pair.batch(20_000, 1)) is not None:
        kept.append(batch)
    assert 2 <= len(kept) <= 5
    assert "ACCELGRAD_SHM_LIMIT is 100000 bytes" in pair.writer.over_budget


def test_a_batch_beyond_the_free_memory_is_refused_before_it_is_allocated(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 30_000)
    pair = Pair()
    assert pair.batch(20_000, 1) is None
    assert "only 30000 are free" in pair.writer.over_budget


def test_a_failing_allocation_is_no_crash(monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(memory, "_reserve", full)
    pair = Pair()
    assert pair.batch(20_000, 1) is None
    assert "no memory left" in pair.writer.over_budget


def test_arrays_of_the_allocator_lie_in_the_slot():
    pair = Pair()
    pair.batch(20_000, 0)
    pair.writer.begin()
    array = pair.writer.allocate((10, 100), np.dtype(np.float64))
    assert pair.writer.offset_of(array) == 0 and pair.writer.offset_of(array[1:]) is None
    assert pair.writer.allocate((0, 3), np.dtype(np.float64)).shape == (0, 3)
    too_large = pair.writer.allocate((100_000,), np.dtype(np.int8))
    assert pair.writer.offset_of(too_large) is None


@pytest.mark.parametrize("memfd", [True, False])
def test_an_anonymous_file_has_no_name_and_its_size(memfd):
    before = set(os.listdir("/dev/shm"))
    descriptor = memory.anonymous_file(10_000, memfd=memfd)
    try:
        assert os.fstat(descriptor).st_size == 10_000
        assert not os.get_inheritable(descriptor)
        target = os.readlink(f"/proc/self/fd/{descriptor}")
        assert "memfd:" in target or target.endswith("(deleted)")
        assert set(os.listdir("/dev/shm")) == before
        memory._reserve(descriptor, 4096, 4096)
        mapped = memory.map_shared(descriptor, 10_000)
        mapped[5000] = 7
        assert os.pread(descriptor, 1, 5000) == b"\7"
    finally:
        os.close(descriptor)


def test_a_mapping_keeps_no_descriptor():
    descriptor = memory.anonymous_file(8192)
    count = len(os.listdir("/proc/self/fd"))
    mapped = memory.map_shared(descriptor, 8192)
    assert len(os.listdir("/proc/self/fd")) == count
    os.close(descriptor)
    mapped[0] = 1
    assert mapped[0] == 1


def test_reserving_without_fallocate_writes_zeros(monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate")
    descriptor = memory.anonymous_file(0)
    memory._reserve(descriptor, 0, 3_000_000)
    assert os.fstat(descriptor).st_size == 3_000_000
    os.close(descriptor)


@pytest.mark.parametrize(
    "text, size",
    [(None, None), ("", None), ("4096", 4096), ("64M", 64 << 20), ("1.5k", 1536), ("2G", 2 << 30)],
)
def test_the_limit_is_read_with_units(text, size):
    assert memory.shm_limit(text) == size


@pytest.mark.parametrize("text", ["lots", "5X", "M"])
def test_a_limit_that_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="is not a size; write bytes"):
        memory.shm_limit(text)


def test_available_memory_reads_meminfo_and_both_kinds_of_cgroup(tmp_path):
    info = tmp_path / "meminfo"
    info.write_text("MemTotal: 10 kB\nMemAvailable: 8 kB\n")
    assert memory.available_memory(str(info)) <= 8192
    two = tmp_path / "v2"
    (two / "app" / "inner").mkdir(parents=True)
    (two / "app" / "memory.max").write_text("1000\n")
    (two / "app" / "memory.current").write_text("400\n")
    (two / "app" / "memory.stat").write_text("anon 1\ninactive_file 50\n")
    (two / "app" / "inner" / "memory.max").write_text("max\n")
    (tmp_path / "v2proc").write_text("0::/app/inner\n")
    assert memory._cgroup_room(str(tmp_path / "v2proc"), str(two)) == 650
    one = tmp_path / "v1" / "memory" / "job"
    one.mkdir(parents=True)
    (one / "memory.limit_in_bytes").write_text("5000")
    (one / "memory.usage_in_bytes").write_text("6000")
    (tmp_path / "v1proc").write_text("3:cpu:/x\n4:cpuset,memory:/job\n")
    assert memory._cgroup_room(str(tmp_path / "v1proc"), str(tmp_path / "v1")) == 0
    assert memory._cgroup_room(str(tmp_path / "missing")) is None
