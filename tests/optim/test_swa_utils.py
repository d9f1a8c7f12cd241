"""Averaged models: their parameters, buffers and rates are PyTorch's, moment by moment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import nn, optim
from accelgrad.optim import swa_utils


def models() -> tuple[Any, Any]:
    """The same small network twice."""
    torch = pytest.importorskip("torch")

    def build(library: Any) -> Any:
        return library.Sequential(library.Linear(3, 4), library.BatchNorm1d(4), library.Linear(4, 2)).double()

    theirs, ours = build(torch.nn), build(nn)
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    return ours, theirs


def change(ours: Any, theirs: Any, seed: int) -> None:
    """New values everywhere, the same on both sides."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    for one, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        if other.dtype.is_floating_point:
            value = rng.uniform(0.5, 1.5, tuple(other.shape))
            one.copy_(accelgrad.tensor(value))
            other.copy_(torch.from_numpy(value))
        else:
            one += 3
            other += 3


def same(ours: Any, theirs: Any) -> None:
    mine, other = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(other)
    for key, value in other.items():
        np.testing.assert_allclose(  # PyTorch computes 1 / (n + 1) in float32 in one of its ways
            mine[key].numpy(), value.numpy(), rtol=1e-7, err_msg=key
        )


CHOICES: list[Any] = [
    lambda utils: {},
    lambda utils: {"use_buffers": True, "avg_fn": utils.get_swa_avg_fn()},
    lambda utils: {"avg_fn": utils.get_ema_avg_fn(0.8)},
    lambda utils: {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.7)},
    lambda utils: {"multi_avg_fn": utils.get_swa_multi_avg_fn()},
    lambda utils: {"use_buffers": True},
    lambda utils: {"use_buffers": True, "multi_avg_fn": utils.get_ema_multi_avg_fn(0.7)},
    lambda utils: {"avg_fn": lambda average, x, n: average * 0.5 + x * 0.5},
]


@pytest.mark.parametrize("choice", CHOICES)
def test_averages_are_pytorchs(choice: Any) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = models()
    mine = swa_utils.AveragedModel(ours, **choice(swa_utils))
    other = torch.optim.swa_utils.AveragedModel(theirs, **choice(torch.optim.swa_utils))
    same(mine, other)
    for seed in range(4):
        change(ours, theirs, seed)
        mine.update_parameters(ours)
        other.update_parameters(theirs)
        same(mine, other)
    assert mine.n_averaged.item() == 4
    x = np.linspace(-1, 1, 6).reshape(2, 3)
    np.testing.assert_allclose(
        mine.eval()(accelgrad.tensor(x)).detach().numpy(), other.eval()(torch.tensor(x)).detach().numpy()
    )


def test_the_average_does_not_share_memory_with_the_model() -> None:
    ours, _ = models()
    averaged = swa_utils.AveragedModel(ours)
    averaged.update_parameters(ours)
    before = averaged.module[0].weight.detach().clone()
    with accelgrad.no_grad():
        ours[0].weight.zero_()
    assert (averaged.module[0].weight == before).all()
    assert averaged.module[0].weight.requires_grad


def test_statistics_are_gathered_anew() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = models()
    change(ours, theirs, 0)
    rng = np.random.default_rng(1)
    batches = [(rng.standard_normal((size, 3)), size) for size in (4, 8, 5)]
    swa_utils.update_bn([(accelgrad.tensor(x), y) for x, y in batches], ours.eval())
    torch.optim.swa_utils.update_bn([(torch.tensor(x), y) for x, y in batches], theirs.eval())
    same(ours, theirs)
    assert ours[1].momentum == 0.1 and not ours.training and not ours[1].training
    swa_utils.update_bn([accelgrad.zeros(1)], nn.Linear(2, 2))  # nothing to gather, so nothing is run


def test_a_failing_batch_leaves_the_momentum_as_it_was() -> None:
    ours, _ = models()
    with pytest.raises(RuntimeError):
        swa_utils.update_bn([accelgrad.zeros(2, 5, dtype=accelgrad.float64)], ours.eval())
    assert ours[1].momentum == 0.1 and not ours.training


RATES: list[dict[str, Any]] = [
    {"swa_lr": 0.05},
    {"swa_lr": [0.05, 0.7], "anneal_epochs": 4, "anneal_strategy": "linear"},
    {"swa_lr": 0.2, "anneal_epochs": 0},
    {"swa_lr": 0.2, "anneal_epochs": 1, "anneal_strategy": "linear"},
]


@pytest.mark.parametrize("options", RATES, ids=str)
def test_rates_are_pytorchs(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")

    def walk(library: Any, utils: Any, parameter: Any) -> list[Any]:
        groups = [{"params": [parameter()], "lr": 0.5}, {"params": [parameter()]}]
        optimizer = library.SGD(groups, lr=0.1)
        first = library.lr_scheduler.ExponentialLR(optimizer, 0.9)
        second = utils.SWALR(optimizer, **options)
        rates = []
        for step in range(10):
            optimizer.step()
            (first if step < 3 else second).step()
            rates.append([group["lr"] for group in optimizer.param_groups])
        return [*rates, second.get_last_lr()]

    expected = walk(torch.optim, torch.optim.swa_utils, lambda: torch.nn.Parameter(torch.zeros(1)))
    found = walk(optim, swa_utils, lambda: nn.Parameter(accelgrad.zeros(1)))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_saved_schedule_carries_on() -> None:
    def start() -> tuple[Any, Any]:
        optimizer = optim.SGD([nn.Parameter(accelgrad.zeros(1))], lr=1.0)
        return optimizer, swa_utils.SWALR(optimizer, 0.1, anneal_epochs=5, anneal_strategy="linear")

    (first, one), (second, other) = start(), start()
    for _ in range(2):
        first.step()
        one.step()
    second.load_state_dict(first.state_dict())
    other.load_state_dict(one.state_dict())
    for _ in range(2):
        first.step()
        one.step()
        second.step()
        other.step()
    assert one.get_last_lr() == other.get_last_lr() == pytest.approx([0.28])


def test_wrong_settings_are_refused() -> None:
    ours = nn.Linear(3, 4)
    optimizer = optim.SGD(ours.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="anneal_strategy must be one of 'cos' or 'linear', instead got log"):
        swa_utils.SWALR(optimizer, 0.1, anneal_strategy="log")
    with pytest.raises(ValueError, match="anneal_epochs must be equal or greater than 0, got -1"):
        swa_utils.SWALR(optimizer, 0.1, anneal_epochs=-1)
    with pytest.raises(ValueError, match=r"Invalid decay value 1\.5 provided"):
        swa_utils.get_ema_multi_avg_fn(1.5)
    with pytest.raises(AssertionError, match="Only one of avg_fn and multi_avg_fn should be provided"):
        swa_utils.AveragedModel(
            ours, avg_fn=swa_utils.get_swa_avg_fn(), multi_avg_fn=swa_utils.get_swa_multi_avg_fn()
        )


def test_the_package_is_found_where_pytorch_has_it() -> None:
    assert optim.swa_utils is swa_utils
    with pytest.raises(AttributeError, match="has no attribute 'swa_util'"):
        optim.swa_util  # noqa: B018
