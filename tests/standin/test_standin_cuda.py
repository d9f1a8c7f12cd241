"""accelgrad.cuda, memory and several devices on the stand-in; run by pytest --device standin (or gpu for
the rest).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import cuda, gpu


@pytest.fixture(autouse=True)
def only_with_a_card(device: str) -> None:
    if device != "gpu":
        pytest.skip("needs pytest --device standin or --device gpu")


@pytest.fixture
def cupy() -> Any:
    import cupy

    return cupy


@pytest.fixture
def limited(cupy: Any) -> Iterator[None]:
    """A pool that may hold one MiB more than it does."""
    accelgrad.zeros(1, device="gpu")
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    pool.set_limit(size=pool.total_bytes() + (1 << 20))
    yield
    pool.set_limit(size=0)


def test_status_names_the_cards() -> None:
    assert cuda.is_available() and cuda.status().code == "ok"
    assert cuda.device_count() >= 1
    assert 0 <= cuda.current_device() < cuda.device_count()
    assert cuda.get_device_name(0) == cuda.get_device_properties("cuda:0").name
    assert cuda.get_device_capability() >= (5, 0)


def test_a_card_that_is_not_there_is_refused() -> None:
    with pytest.raises(RuntimeError, match="invalid device ordinal: 'gpu:99' was asked for"):
        accelgrad.zeros(1, device="gpu:99")
    with pytest.raises(ValueError, match="Expected a cuda device, but got: cpu"):
        cuda.get_device_name("cpu")


def test_out_of_memory_says_what_is_held_and_training_goes_on(limited: None) -> None:
    held = accelgrad.zeros(1 << 16, device="gpu")  # 256 KiB
    with pytest.raises(cuda.OutOfMemoryError) as caught:
        held.repeat(16)
    text = str(caught.value)
    assert "Tried to allocate 4.00 MiB" in text and "its limit is" in text
    assert "(65536,) float32" in text and "smaller batch" in text
    assert isinstance(caught.value, RuntimeError) and isinstance(caught.value, MemoryError)
    assert float((held + 1).sum().item()) == 1 << 16


def test_out_of_memory_within_a_step_leaves_the_next_step_right(limited: None) -> None:
    weight = accelgrad.ones(256, device="gpu", requires_grad=True)
    with pytest.raises(cuda.OutOfMemoryError):
        (accelgrad.ones(4096, 256, device="gpu") * weight).sum().backward()
    assert weight.grad is None
    (accelgrad.ones(4, 256, device="gpu") * weight).sum().backward()
    np.testing.assert_array_equal(weight.grad.cpu().numpy(), np.full(256, 4.0))


def test_memory_is_counted() -> None:
    before = cuda.memory_allocated()
    x = accelgrad.zeros(1 << 18, device="gpu")
    assert cuda.memory_allocated() - before >= 1 << 20
    assert cuda.memory_reserved() >= cuda.memory_allocated()
    cuda.reset_peak_memory_stats()
    y = x + 1
    del y
    assert cuda.max_memory_allocated() - cuda.memory_allocated() >= 1 << 20
    del x
    cuda.empty_cache()
    free, total = cuda.mem_get_info()
    assert 0 < free <= total
    assert "held by arrays" in cuda.memory_summary()


def test_events_measure_what_lies_between_them() -> None:
    first, second = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    with pytest.raises(ValueError, match="Both events must be recorded"):
        first.elapsed_time(second)
    first.record()
    accelgrad.ones(1000, device="gpu").sum()
    second.record()
    assert first.elapsed_time(second) >= 0
    with pytest.raises(ValueError, match="enable_timing=True"):
        first.elapsed_time(cuda.Event())


def test_work_goes_to_the_stream_of_the_block() -> None:
    side = cuda.Stream()
    assert cuda.current_stream() != side
    with cuda.stream(side):
        assert cuda.current_stream() == side
        x = accelgrad.ones(3, device="gpu") * 2
    cuda.current_stream().wait_stream(side)
    assert x.cpu().tolist() == [2.0, 2.0, 2.0]
    side.synchronize()
    assert side.query()


def test_mixed_devices_are_refused_with_the_way_out() -> None:
    with pytest.raises(RuntimeError, match=r"Expected all tensors to be on the same device.*\.to\('c"):
        accelgrad.ones(3, device="gpu") + accelgrad.ones(3)
    assert (accelgrad.ones(3, device="gpu") + accelgrad.tensor(2.0)).tolist() == [3.0, 3.0, 3.0]


def test_an_operation_runs_on_the_card_of_its_tensors() -> None:
    if cuda.device_count() < 2:
        pytest.skip("needs two cards")
    x = accelgrad.ones(2, 3, device="gpu:1", requires_grad=True)
    y = (x * 2 + 1).sum()
    assert y.device == accelgrad.device("gpu:1") and cuda.current_device() == 0
    y.backward()
    assert x.grad.device == accelgrad.device("gpu:1") and x.grad.tolist() == [[2.0] * 3] * 2
    y.grad = None
    (x * x).sum().backward()
    assert x.grad.tolist() == [[4.0] * 3] * 2
    with pytest.raises(RuntimeError, match=r"cuda:0 and cuda:1|cuda:1 and cuda:0"):
        x + accelgrad.ones(2, 3, device="gpu:0")
    with cuda.device(1):
        assert cuda.current_device() == 1 and accelgrad.ones(1, device="gpu").device.index == 1
    assert gpu.current_device() == 0


def test_masks_and_samples_are_the_same_on_every_device() -> None:
    for draw in (
        lambda where: accelgrad.rand(5, device=where),
        lambda where: accelgrad.randperm(9, device=where),
        lambda where: accelgrad.nn.functional.dropout(accelgrad.ones(50, device=where), 0.3),
    ):
        accelgrad.manual_seed(5)
        here = draw("cpu")
        accelgrad.manual_seed(5)
        assert draw("gpu").tolist() == here.tolist()
