"""The card's helpers that need no card: lines to install, sizes for people, and the meter over a pool."""

from __future__ import annotations

import types

import numpy as np
import pytest

from accelgrad.arrays import gpu
from accelgrad.arrays.holder import ArrayHolder


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (3 << 20, "3.00 MiB"), (5 << 40, "5120.00 GiB")],
)
def test_sizes_have_the_unit_that_keeps_them_short(size, text):
    assert gpu.readable(size) == text


@pytest.mark.parametrize(
    ("driver", "generation"), [(0, 13), (11080, 13), (12000, 12), (12090, 12), (13000, 13)]
)
def test_the_line_to_install_follows_the_driver(driver, generation):
    assert gpu._generation(driver) == generation
    assert gpu.install_line(generation) in gpu._advice(driver)
    assert f"cupy-cuda{generation}x" in gpu.install_line(generation)


class Pool:
    """A memory pool that counts, with room for ``room`` bytes."""

    def __init__(self, room=1 << 20):
        self.room, self.used, self.asked = room, 0, 0

    def malloc(self, size):
        if self.used + size > self.room:
            raise MemoryError
        self.used += size
        return types.SimpleNamespace(device_id=99)

    def used_bytes(self):
        self.asked += 1
        return self.used

    def free_bytes(self):
        return 1024

    def get_limit(self):
        return self.room


class Device:
    """A card of a number that no other test uses."""

    id, mem_info = 99, (512, 1 << 20)

    def __init__(self, index=99):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


class OnCard:
    """An array of a card: what the error of missing memory says about it."""

    def __init__(self, elements, address):
        self.shape, self.dtype, self.nbytes = (elements,), np.dtype("float32"), 4 * elements
        self.device, self.data = Device(), types.SimpleNamespace(ptr=address)


def holder(array):
    made = ArrayHolder()
    made.array = array
    return made


@pytest.fixture
def meter():
    pool = Pool()
    return gpu.Meter(
        types.SimpleNamespace(get_default_memory_pool=lambda: pool, cuda=types.SimpleNamespace(Device=Device))
    )


def test_the_peak_is_counted_from_the_first_question_on(meter):
    meter(1000)
    assert meter.peak == {} and meter.pool.asked == 0
    meter.restart(99)
    assert meter.peak == {99: 1000}
    meter(500)
    meter.pool.used = 100
    meter(10)
    assert meter.peak == {99: 1500}


def test_missing_memory_is_an_error_that_says_what_fills_it(meter):
    one, same, other = holder(OnCard(1000, 1)), holder(OnCard(10, 1)), holder(OnCard(20, 2))
    meter(1 << 19)
    with pytest.raises(gpu.OutOfMemoryError) as caught:
        meter(1 << 20)
    assert isinstance(caught.value, RuntimeError) and isinstance(caught.value, MemoryError)
    text = str(caught.value)
    assert "Tried to allocate 1.00 MiB on cuda:99, which has 1.00 MiB, 512 B of it free." in text
    assert (
        "Arrays hold 512.00 KiB, the pool keeps another 1.00 KiB for reuse, and its limit is 1.00 MiB."
        in text
    )
    assert gpu.largest_tensors(99) == [
        (4000, "ArrayHolder (1000,) float32"),
        (80, "ArrayHolder (20,) float32"),
    ]
    assert "The largest tensors alive:\n    3.91 KiB  ArrayHolder (1000,) float32\n" in text
    assert gpu.largest_tensors(99, count=1) == gpu.largest_tensors(99)[:1] and gpu.largest_tensors(98) == []
    del one, same, other
