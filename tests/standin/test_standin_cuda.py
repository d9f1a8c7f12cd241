"""accelgrad.cuda, memory and several devices on the stand-in; run by pytest --device standin (or gpu for
the rest).
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import cuda
from accelgrad.arrays import gpu

pytestmark = pytest.mark.host


@pytest.fixture(autouse=True)
def only_with_a_card(device: str) -> None:
    if device != "gpu":
        pytest.skip("needs pytest --device standin or --device gpu")


@pytest.fixture
def cupy() -> Any:
    import cupy

    return cupy


@pytest.fixture
def pool(request: pytest.FixtureRequest) -> None:
    """Skipped where memory does not come from CuPy's pool."""
    if request.config.getoption("--detect-races"):
        pytest.skip("the detector takes memory without the pool")


@pytest.fixture
def limited(cupy: Any, pool: None) -> Iterator[None]:
    """A pool that may hold one MiB more than it does."""
    accelgrad.zeros(1, device="gpu")
    memory = cupy.get_default_memory_pool()
    memory.free_all_blocks()
    memory.set_limit(size=memory.total_bytes() + (1 << 20))
    yield
    memory.set_limit(size=0)


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


def test_memory_is_counted(pool: None) -> None:
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


def test_page_locked_memory_is_fetched_while_the_program_goes_on(cupy: Any) -> None:
    x = accelgrad.arange(3000.0).reshape(60, 50).pin_memory()
    assert x.is_pinned() and not x.clone().is_pinned() and x.pin_memory() is x
    moved = x.to("gpu", non_blocking=True)
    assert moved.is_cuda and not moved.is_pinned()
    del x  # the memory must not be given to others before the card has fetched it
    gc.collect()
    expected = np.arange(3000.0, dtype="float32").reshape(60, 50)
    for _ in range(3):
        np.frombuffer(cupy.cuda.alloc_pinned_memory(expected.nbytes), np.uint8)[: expected.nbytes] = 0
    np.testing.assert_array_equal(moved.cpu().numpy(), expected)


def test_the_copy_of_page_locked_memory_is_not_waited_for(request: pytest.FixtureRequest, cupy: Any) -> None:
    if request.config.getoption("--device") != "standin":
        pytest.skip("counts on the stand-in")
    x = accelgrad.ones(4).pin_memory()
    before = cupy.cuda.counts["syncs"]
    moved = x.to("gpu", non_blocking=True)
    assert len(cupy.cuda.fetches) == 1 and cupy.cuda.counts["syncs"] == before
    x.array[...] = 7.0  # against the promise: now the card fetches this
    assert moved.tolist() == [7.0] * 4 and not cupy.cuda.fetches
    kept = x.to("gpu")  # no promise was made
    x.array[...] = 0.0
    assert kept.tolist() == [7.0] * 4


def test_a_stream_that_was_named_holds_the_memory_until_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    class Event:
        done = False

    stream, event = cuda.Stream(), Event()
    monkeypatch.setattr(type(stream.cupy), "record", lambda self: event)
    x = accelgrad.ones(3, device="gpu")
    array = weakref.ref(x.array)
    x.record_stream(stream)
    del x
    gc.collect()
    assert array() is not None, "the stream may still read it"
    event.done = True
    y = accelgrad.ones(3, device="gpu")
    y.record_stream(stream)  # what is done is let go at the next time
    assert array() is None
    with pytest.raises(RuntimeError, match="record_stream is for tensors on a card, this one is on cpu"):
        accelgrad.ones(3, device="cpu").record_stream(stream)


def test_a_part_of_page_locked_memory_travels_alone() -> None:
    x = accelgrad.arange(12.0).reshape(3, 4).pin_memory()
    assert x[1:].is_pinned()
    assert x[1:].to("gpu", non_blocking=True).tolist() == [[4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 10.0, 11.0]]
    assert x.T.to("gpu", non_blocking=True).T.tolist() == x.tolist()
    target = accelgrad.zeros(3, 4, device="gpu")
    assert target.copy_(x, non_blocking=True).tolist() == x.tolist()


def test_only_tensors_in_host_memory_are_pinned() -> None:
    with pytest.raises(RuntimeError, match=r"cannot pin 'accelgrad.cuda.FloatTensor': only dense CPU"):
        accelgrad.ones(2, device="gpu").pin_memory()
    assert accelgrad.tensor(3.0).pin_memory().is_pinned() and accelgrad.zeros(0, 3).pin_memory().shape == (
        0,
        3,
    )


def test_a_loader_pins_what_it_hands_out() -> None:
    from accelgrad.utils.data import DataLoader, TensorDataset

    data = TensorDataset(accelgrad.arange(10.0), accelgrad.arange(10))
    for x, label in DataLoader(data, batch_size=4, pin_memory=True):
        assert x.is_pinned() and label.is_pinned()
        assert x.to("gpu", non_blocking=True).tolist() == label.tolist()


def test_a_graph_over_two_cards_sums_each_gradient_where_its_tensor_lies() -> None:
    if cuda.device_count() < 2:
        pytest.skip("needs two cards")
    first, second = accelgrad.device("gpu:0"), accelgrad.device("gpu:1")
    x = accelgrad.tensor([1.0, 2.0], device=first, requires_grad=True)
    w = accelgrad.tensor([3.0, 4.0], device=second, requires_grad=True)
    for root in (first, second):  # the walk begins on either card
        x.grad = w.grad = None
        there = x.to(second)
        parts = [there * w + there, (there * w).to(first) * x, x * x]
        loss = sum((one.to(root).sum() for one in parts[1:]), parts[0].to(root).sum())
        loss.backward()
        loss = (x.to(second) * w).sum().to(root)
        loss.backward()  # adds to what is there
        assert (x.grad.device, w.grad.device) == (first, second)
        assert int(x.grad.array.device.id) == 0 and int(w.grad.array.device.id) == 1
        # d/dx of xw + x + x²w + x² and of xw; d/dw of xw + x²w and of xw
        assert x.grad.tolist() == [3 + 1 + 6 + 2 + 3, 4 + 1 + 16 + 4 + 4]
        assert w.grad.tolist() == [1 + 1 + 1, 2 + 4 + 2]
    assert gpu.current_device() == 0


def test_second_derivatives_cross_from_card_to_card() -> None:
    if cuda.device_count() < 2:
        pytest.skip("needs two cards")
    x = accelgrad.tensor([1.0, 2.0], device="gpu:0", requires_grad=True)
    y = x.to("gpu:1")
    (slope,) = accelgrad.autograd.grad((y * y * y + y * y).sum(), x, create_graph=True)
    (curvature,) = accelgrad.autograd.grad(slope.sum(), x)
    assert slope.device == curvature.device == x.device
    assert slope.tolist() == [5.0, 16.0] and curvature.tolist() == [8.0, 14.0]


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


def test_the_rest_of_torch_cuda_on_a_card() -> None:
    cuda.init()
    assert cuda.is_initialized() and cuda.get_arch_list()[0].startswith("sm_")
    assert accelgrad.version.cuda.split(".")[0].isdigit()
    assert accelgrad.accelerator.is_available() and accelgrad.accelerator.current_accelerator().type == "cuda"
    assert accelgrad.accelerator.device_count() == cuda.device_count()
    accelgrad.accelerator.synchronize()
    x = accelgrad.ones(2).cuda()
    assert x.is_cuda and x.get_device() == 0 and x.cpu().get_device() == -1
    assert accelgrad.nn.Linear(2, 2).cuda().weight.is_cuda
    with cuda.device_of(x), cuda.device_of(x.cpu()):
        assert cuda.current_device() == x.get_device()
    stats = cuda.memory_stats()
    assert stats["allocated_bytes.all.peak"] >= stats["allocated_bytes.all.current"] > 0
    state = cuda.get_rng_state()
    first = accelgrad.rand(3, device="cuda").tolist()
    cuda.set_rng_state(state)
    assert accelgrad.rand(3, device="cuda").tolist() == first
    generator = accelgrad.Generator(device="cuda").manual_seed(3)
    again = accelgrad.Generator(device="cpu").manual_seed(3)
    drawn = accelgrad.randn(4, device="cuda", generator=generator)
    assert drawn.tolist() == accelgrad.randn(4, generator=again).tolist()


def test_a_stream_can_be_set_for_good_and_a_fraction_of_the_memory_kept_free(cupy: Any) -> None:
    side, before = cuda.Stream(), cuda.current_stream()
    cuda.set_stream(side)
    try:
        assert cuda.current_stream() == side
    finally:
        cuda.set_stream(before)
    assert cuda.current_stream() == before
    pool = cupy.get_default_memory_pool()
    try:
        cuda.set_per_process_memory_fraction(0.5)
        assert pool.get_limit() == pytest.approx(cuda.mem_get_info()[1] / 2, rel=1e-6)
    finally:
        pool.set_limit(size=0)


@pytest.mark.parametrize(
    "name",
    [
        "SGD",
        "Adam",
        "RMSprop",
        "Adagrad",
        "Adadelta",
        "Adafactor",
        "Adamax",
        "NAdam",
        "RAdam",
        "ASGD",
        "Rprop",
    ],
)
def test_an_optimizer_steps_parameters_on_two_cards(name: str) -> None:
    if cuda.device_count() < 2:
        pytest.skip("needs two cards")

    def walk(*places: str) -> list[Any]:
        params = [accelgrad.nn.Parameter(accelgrad.full((3,), 1.0, device=place)) for place in places]
        options = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
        optimizer = getattr(accelgrad.optim, name)(params, lr=0.1, **options)
        for step in range(3):
            optimizer.zero_grad(set_to_none=False)
            for one in params:
                one.grad = accelgrad.full((3,), 3.0 - step, device=one.device)
            total = accelgrad.nn.utils.clip_grad_norm_(params, 1.0)
            assert float(total.item()) == pytest.approx((6 * (3.0 - step) ** 2) ** 0.5)
            optimizer.step()
        for one in params:
            kept = [one, *(value for value in optimizer.state[one].values() if hasattr(value, "array"))]
            assert {value.device for value in kept} == {one.device}
        return params

    expected = walk("cpu", "cpu")
    for one, other in zip(walk("gpu:0", "gpu:1"), expected, strict=True):
        np.testing.assert_allclose(one.detach().cpu().numpy(), other.detach().numpy(), rtol=1e-5)
    assert gpu.current_device() == 0
