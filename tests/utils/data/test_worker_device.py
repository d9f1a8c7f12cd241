"""Workers keep to the host: whatever the program's default device, their tensors lie in host memory."""

from __future__ import annotations

import sys
import types

import pytest

import accelgrad
from accelgrad.arrays import gpu
from accelgrad.utils.data import DataLoader, Dataset, TensorDataset, nursery


class Numbers(Dataset):
    """A tensor that was made in the program, and one that each sample makes."""

    def __init__(self) -> None:
        self.held = accelgrad.arange(6.0)

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[accelgrad.Tensor, accelgrad.Tensor, str]:
        return self.held[index], accelgrad.tensor(index), gpu.status().code


@pytest.mark.parametrize("environment", [False, True])
def test_batches_of_workers_lie_in_host_memory(
    environment: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if environment:
        monkeypatch.setenv("ACCELGRAD_DEVICE", device)
    with DataLoader(Numbers(), batch_size=3, num_workers=1) as loader:
        for held, made, codes in loader:
            assert held.device.type == made.device.type == "cpu"
            assert held.tolist() == made.tolist()
            assert codes == ["worker"] * 3


def test_a_dataset_of_tensors_on_the_device_gives_batches_there_without_workers() -> None:
    x, y = accelgrad.arange(10.0).view(5, 2), accelgrad.arange(5)
    for shuffle in (False, True):
        for rows, label in DataLoader(TensorDataset(x, y), batch_size=2, shuffle=shuffle):
            assert rows.device == x.device and label.device == y.device
            assert rows.tolist() == [[2.0 * place, 2.0 * place + 1] for place in label.tolist()]


def test_samples_of_two_devices_are_refused_by_name(device: str) -> None:
    if device == "cpu":
        pytest.skip("needs a second device")
    samples = [accelgrad.ones(2, device="cpu"), accelgrad.ones(2, device=device)]
    with pytest.raises(RuntimeError, match=r"found at least two devices, cpu and cuda:0! .*sample 1"):
        accelgrad.utils.data.default_collate(samples)


@pytest.mark.parametrize(("driver", "dangerous"), [(13000, True), (0, False)])
def test_cupy_counts_as_used_only_where_there_is_a_driver(
    driver: int, dangerous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", types.ModuleType("cupy"))
    monkeypatch.setattr(nursery.gpu, "driver_version", lambda: driver)
    assert nursery._has_run("cupy") is dangerous
