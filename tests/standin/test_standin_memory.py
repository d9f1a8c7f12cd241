"""Memory that runs out at any allocation of a training step: a clear error, and training goes on."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import amp, cuda, nn, optim
from accelgrad.arrays import gpu
from accelgrad.nn import functional as F

pytestmark = pytest.mark.host


class Pool:
    """A memory pool that refuses one allocation."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.left: int | None = None  # allocations until one is refused

    def malloc(self, size: int) -> Any:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise MemoryError(f"Out of memory allocating {size:,} bytes")
        return self.pool.malloc(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pool, name)


@pytest.fixture
def pool(device: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    if device != "gpu":
        pytest.skip("needs pytest --device standin, cupy-on-host or gpu")
    accelgrad.zeros(1, device="gpu")
    refusing = Pool(gpu.meter().pool)
    monkeypatch.setattr(gpu.meter(), "pool", refusing)
    yield refusing
    refusing.left = None


def model() -> nn.Module:
    accelgrad.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(12, 6), nn.LayerNorm(6), nn.Dropout(0.2), nn.Linear(6, 3)),
    ).to("gpu")


def batch(n: int = 8) -> tuple[accelgrad.Tensor, accelgrad.Tensor]:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((n, 1, 6, 6)).astype("float32")
    return accelgrad.from_numpy(images).to("gpu"), accelgrad.from_numpy(rng.integers(0, 3, n)).to("gpu")


def gradients(network: nn.Module, data: Any) -> list[np.ndarray]:
    """Of one pass with the same masks and running statistics each time."""
    accelgrad.manual_seed(1)
    network.zero_grad()
    F.cross_entropy(network(data[0]), data[1]).backward()
    return [one.grad.cpu().numpy() for one in network.parameters()]


def test_a_refused_allocation_anywhere_in_a_pass_leaves_the_next_one_right(pool: Pool) -> None:
    network, data = model(), batch()
    expected = gradients(network, data)
    before = [one.detach().cpu().numpy() for one in network.parameters()]
    for refused in range(0, 2000, 3):
        pool.left = refused
        try:
            gradients(network, data)
        except cuda.OutOfMemoryError as error:
            assert pool.left is None and str(error).startswith("CUDA out of memory. Tried to allocate")
            assert "The largest tensors alive:" in str(error) and "smaller batch" in str(error)
        else:
            break
        if refused % 4 == 0:
            for one, other in zip(gradients(network, data), expected, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    pool.left = None
    assert refused > 50, "the loop ended because a pass needs no more, not because nothing was refused"
    for one, other in zip(network.parameters(), before, strict=True):
        np.testing.assert_array_equal(one.detach().cpu().numpy(), other)
    assert accelgrad.is_grad_enabled()


OPTIMIZERS = {
    "SGD": {"lr": 0.05, "momentum": 0.9}, "Adam": {"lr": 0.02}, "AdamW": {"lr": 0.02, "amsgrad": True},
    "RMSprop": {"lr": 0.01, "momentum": 0.5, "centered": True}, "Adagrad": {"lr": 0.1},
    "Adadelta": {"lr": 1.0}, "Adamax": {"lr": 0.02}, "NAdam": {"lr": 0.02}, "RAdam": {"lr": 0.02},
    "Rprop": {"lr": 0.01}, "ASGD": {"lr": 0.05},
}  # fmt: skip


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("first", [True, False], ids=["first step", "later step"])
def test_a_refused_allocation_in_a_step_leaves_an_optimizer_that_goes_on(
    kind: str, first: bool, pool: Pool
) -> None:
    data = batch()
    refusals = 0
    for refused in (0, 1, 2, 5, 13, 34):
        network = model().eval()
        update = getattr(optim, kind)(network.parameters(), **OPTIMIZERS[kind])
        start = F.cross_entropy(network(data[0]), data[1]).item()
        if not first:
            gradients(network, data)
            update.step()
        gradients(network, data)
        pool.left = refused
        try:
            update.step()
        except cuda.OutOfMemoryError:
            refusals += 1
        pool.left = None
        for one in network.parameters():
            assert bool(one.isfinite().all())
            for value in update.state[one].values():
                assert not isinstance(value, accelgrad.Tensor) or bool(value.isfinite().all())
        for _ in range(12):
            gradients(network, data)
            update.step()
        assert F.cross_entropy(network(data[0]), data[1]).item() < start, (kind, refused)
    assert refusals or not first, "state is made in the first step, so that something was refused"


def test_training_goes_on_with_a_smaller_batch(pool: Pool) -> None:
    import cupy

    network = model()
    update, scaler = optim.AdamW(network.parameters(), lr=0.01), amp.GradScaler()
    memory = cupy.get_default_memory_pool()
    gradients(network, batch(4))
    memory.free_all_blocks()
    memory.set_limit(size=memory.total_bytes() + (1 << 20))
    try:
        done, size = 0, 1 << 14
        while done < 3:
            update.zero_grad()
            try:
                images, labels = batch(size)
                with amp.autocast("cuda", enabled=False):
                    loss = F.cross_entropy(network(images), labels)
                scaler.scale(loss).backward()
                scaler.step(update)
                scaler.update()
                done += 1
            except cuda.OutOfMemoryError as error:
                assert "its limit is" in str(error)
                loss = images = labels = None
                size //= 2
        assert 1 <= size < 1 << 14 and np.isfinite(loss.item())
    finally:
        memory.set_limit(size=0)


def test_the_error_names_the_largest_tensors_first(pool: Pool) -> None:
    held = [accelgrad.zeros(100, 1000, device="gpu"), accelgrad.zeros(7, 11, device="gpu")]
    parameter = nn.Parameter(accelgrad.zeros(200, 1000, device="gpu"))
    pool.left = 0
    with pytest.raises(cuda.OutOfMemoryError) as caught:
        accelgrad.zeros(1 << 16, device="gpu")
    lines = str(caught.value).splitlines()
    assert "Tried to allocate 256.00 KiB on cuda:0" in lines[0] and "Arrays hold" in lines[0]
    place = lines.index("The largest tensors alive:")
    assert "Parameter (200, 1000) float32" in lines[place + 1] and "781.25 KiB" in lines[place + 1]
    assert "Tensor (100, 1000) float32" in lines[place + 2]
    assert parameter.is_cuda and held


def test_a_small_card_that_is_full_says_so_and_goes_on(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--device") != "cupy-on-host":
        pytest.skip("CuPy on the host can pretend a card of any size")
    program = """
import sys; sys.path.insert(0, sys.argv[1])
import host_cuda; host_cuda.install()
import accelgrad
from accelgrad import cuda
weight = accelgrad.ones(1024, device="gpu", requires_grad=True)
try:
    (accelgrad.ones(1 << 14, 1024, device="gpu") * weight).sum().backward()
except cuda.OutOfMemoryError as error:
    print(str(error).splitlines()[0])
cuda.empty_cache()
(accelgrad.ones(4, 1024, device="gpu") * weight).sum().backward()
print(weight.grad.sum().item(), cuda.mem_get_info()[1] >> 20)
"""
    harness = pathlib.Path(__file__).parents[1] / "gpu" / "cupy_on_host"
    done = subprocess.run(
        [sys.executable, "-c", program, str(harness)],
        env={**os.environ, "CUPY_ON_HOST_MIB": "32"},
        cwd=harness.parents[2],
        capture_output=True,
        text=True,
        timeout=200,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stdout + done.stderr[-2000:]
    assert "Tried to allocate 64.00 MiB on cuda:0, which has 32.00 MiB" in lines[0]
    assert lines[1] == "4096.0 32"
