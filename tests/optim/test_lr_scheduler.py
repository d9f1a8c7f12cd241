"""Learning-rate schedules: their values are PyTorch's, over many steps, saved and loaded in the middle."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import accelgrad
from accelgrad import nn, optim

SCHEDULES: dict[str, Any] = {
    "lambda": lambda s, o: s.LambdaLR(o, lambda epoch: 0.95**epoch),
    "lambdas": lambda s, o: s.LambdaLR(o, [lambda epoch: 0.95**epoch, lambda epoch: 1 / (epoch + 1)]),
    "multiplicative": lambda s, o: s.MultiplicativeLR(o, lambda epoch: 0.9 + 0.01 * (epoch % 3)),
    "step": lambda s, o: s.StepLR(o, 7, 0.5),
    "multistep": lambda s, o: s.MultiStepLR(o, [3, 3, 20], 0.2),
    "constant": lambda s, o: s.ConstantLR(o, 0.25, 6),
    "linear": lambda s, o: s.LinearLR(o, 0.1, 0.9, 12),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.9),
    "polynomial": lambda s, o: s.PolynomialLR(o, 30, 2.0),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, 13, 0.001),
    "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 7, 2, 0.001),
    "equal restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 9),
    "onecycle": lambda s, o: s.OneCycleLR(o, 1.0, total_steps=60),
    "onecycle linear": lambda s, o: s.OneCycleLR(
        o, [1.0, 0.5], epochs=6, steps_per_epoch=10, anneal_strategy="linear"
    ),
    "onecycle three": lambda s, o: s.OneCycleLR(o, 1.0, total_steps=60, three_phase=True, div_factor=10.0),
    "cyclic": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=5),
    "cyclic down": lambda s, o: s.CyclicLR(
        o, 0.01, 0.1, step_size_up=5, step_size_down=9, mode="triangular2"
    ),
    "cyclic range": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=5, mode="exp_range", gamma=0.97),
    "cyclic own": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 5, scale_fn=lambda x: 1 / x, cycle_momentum=False),
    "sequence": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=5), s.ExponentialLR(o, 0.9), s.CosineAnnealingLR(o, 10)], [5, 20]
    ),
    "chain": lambda s, o: s.ChainedScheduler(
        [s.LinearLR(o, 0.1, total_iters=9), s.ExponentialLR(o, 0.95)], o
    ),
}


def ours(kind: str = "SGD") -> Any:
    x, y = nn.Parameter(accelgrad.tensor([1.0])), nn.Parameter(accelgrad.tensor([1.0]))
    options = {"momentum": 0.9} if kind == "SGD" else {}
    return getattr(optim, kind)([{"params": [x]}, {"params": [y], "lr": 0.05}], lr=0.1, **options)


def theirs(torch: Any, kind: str) -> Any:
    x, y = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    options = {"momentum": 0.9} if kind == "SGD" else {}
    return getattr(torch.optim, kind)([{"params": [x]}, {"params": [y], "lr": 0.05}], lr=0.1, **options)


def values(optimizer: Any) -> list[float]:
    found = []
    for group in optimizer.param_groups:
        found += [group["lr"], group["betas"][0] if "betas" in group else group["momentum"]]
    return found


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_values_are_pytorchs(name: str, kind: str):
    torch = pytest.importorskip("torch")
    mine, reference = ours(kind), theirs(torch, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = SCHEDULES[name](torch.optim.lr_scheduler, reference)
    got = SCHEDULES[name](optim.lr_scheduler, mine)
    for _ in range(59):
        assert values(mine) == pytest.approx(values(reference), rel=1e-9, abs=1e-12)
        assert got.get_last_lr() == pytest.approx(expected.get_last_lr(), rel=1e-9, abs=1e-12)
        reference.step()
        mine.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected.step()
        got.step()


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_continues_from_its_state(name: str):
    first, second = ours(), ours()
    one, other = SCHEDULES[name](optim.lr_scheduler, first), SCHEDULES[name](optim.lr_scheduler, second)
    for _ in range(11):
        first.step()
        one.step()
    other.load_state_dict(one.state_dict())
    second.load_state_dict(first.state_dict())
    for _ in range(20):
        for optimizer, schedule in ((first, one), (second, other)):
            optimizer.step()
            schedule.step()
        assert values(first) == values(second)


PLATEAUS: list[dict[str, Any]] = [
    {"patience": 2},
    {"patience": 0, "factor": 0.5, "cooldown": 3},
    {"mode": "max", "patience": 1},
    {"threshold": 0.05, "threshold_mode": "abs", "patience": 1},
    {"min_lr": 0.03, "patience": 0},
    {"min_lr": [0.01, 0.02], "patience": 0},
    {"mode": "max", "threshold_mode": "abs", "threshold": 0.1, "patience": 1},
]


@pytest.mark.parametrize("options", PLATEAUS, ids=str)
def test_a_plateau_reduces_the_rate_when_pytorch_does(options: dict[str, Any]):
    torch = pytest.importorskip("torch")
    mine, reference = ours(), theirs(torch, "SGD")
    expected = torch.optim.lr_scheduler.ReduceLROnPlateau(reference, **options)
    got = optim.lr_scheduler.ReduceLROnPlateau(mine, **options)
    metrics = [
        1.0, 0.9, 0.95, 0.91, 0.9, 0.89, 0.92, 0.5, 0.6, 0.61, 0.6, 0.62, 0.49, 0.48, 0.5, 0.5, 0.5, 0.7,
    ]  # fmt: skip
    for metric in metrics * 3:
        expected.step(metric)
        got.step(accelgrad.tensor(metric))
        assert values(mine) == pytest.approx(values(reference))
        assert got.num_bad_epochs == expected.num_bad_epochs


def test_restarts_take_fractions_of_epochs():
    torch = pytest.importorskip("torch")
    mine, reference = ours(), theirs(torch, "SGD")
    expected = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(reference, 3, 2)
    got = optim.lr_scheduler.CosineAnnealingWarmRestarts(mine, 3, 2)
    for batch in range(100):
        expected.step(batch / 4)
        got.step(batch / 4)
        assert values(mine) == pytest.approx(values(reference), rel=1e-9)


def test_a_step_before_the_optimizers_is_warned_of():
    schedule = optim.lr_scheduler.StepLR(ours(), 1)
    with pytest.warns(UserWarning, match=r"`lr_scheduler.step\(\)` before `optimizer.step\(\)`"):
        schedule.step()


def test_a_rate_that_is_a_tensor_stays_that_tensor():
    rate = accelgrad.tensor(1.0)
    optimizer = optim.SGD([nn.Parameter(accelgrad.ones(1))], lr=rate)
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] is rate and rate.item() == 0.5
    assert schedule.base_lrs[0].item() == 1.0


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda s: s.StepLR(3, 1), TypeError, "int is not an Optimizer"),
        (lambda s: s.StepLR(ours(), 1, last_epoch=4), KeyError, "'initial_lr' is not specified"),
        (lambda s: s.LambdaLR(ours(), [abs]), ValueError, "same length as optimizer.param_groups"),
        (lambda s: s.ConstantLR(ours(), 2.0), ValueError, "between 0 and 1"),
        (lambda s: s.LinearLR(ours(), 0.0), ValueError, "greater than 0 and less or equal to 1"),
        (lambda s: s.LinearLR(ours(), 1.0, 2.0), ValueError, "Ending multiplicative factor"),
        (lambda s: s.OneCycleLR(ours(), 0.1), ValueError, "either total_steps OR"),
        (lambda s: s.OneCycleLR(ours(), 0.1, total_steps=-1), ValueError, "positive integer total_steps"),
        (lambda s: s.OneCycleLR(ours(), 0.1, 5, pct_start=2.0), ValueError, "between 0 and 1 pct_start"),
        (lambda s: s.OneCycleLR(ours(), 0.1, 5, anneal_strategy="x"), ValueError, "'cos' or 'linear'"),
        (
            lambda s: s.OneCycleLR(optim.Adagrad([nn.Parameter(accelgrad.ones(1))]), 0.1, 5),
            ValueError,
            "momentum",
        ),
        (lambda s: s.CyclicLR(ours(), 0.1, 1, mode="x"), ValueError, "mode is invalid"),
        (lambda s: s.CosineAnnealingWarmRestarts(ours(), 0), ValueError, "positive integer T_0"),
        (lambda s: s.CosineAnnealingWarmRestarts(ours(), 1, 0), ValueError, "T_mult >= 1"),
        (lambda s: s.ReduceLROnPlateau(ours(), factor=1.0), ValueError, "Factor should be < 1.0"),
        (lambda s: s.ReduceLROnPlateau(ours(), mode="x"), ValueError, "mode x is unknown"),
        (lambda s: s.SequentialLR(ours(), [], []), ValueError, "at least one scheduler"),
        (lambda s: s.ChainedScheduler([]), ValueError, "at least one scheduler"),
    ],
)
def test_wrong_arguments_are_explained(make, error, words):
    with pytest.raises(error, match=words):
        make(optim.lr_scheduler)


def test_too_many_steps_of_one_cycle_are_an_error():
    optimizer = ours()
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=2)
    optimizer.step()
    schedule.step()
    schedule.step()
    with pytest.raises(ValueError, match="Tried to step 3 times"):
        schedule.step()


def test_a_sequence_of_another_optimizers_schedules_is_refused():
    one, other = ours(), ours()
    parts = [optim.lr_scheduler.StepLR(one, 1), optim.lr_scheduler.StepLR(other, 1)]
    with pytest.raises(ValueError, match="same optimizer"):
        optim.lr_scheduler.SequentialLR(one, parts, [2])
    with pytest.raises(ValueError, match="number of schedulers provided to be one more"):
        optim.lr_scheduler.SequentialLR(one, parts[:1], [2])
    with pytest.raises(ValueError, match="does not support `ReduceLROnPlateau`"):
        optim.lr_scheduler.ChainedScheduler([optim.lr_scheduler.ReduceLROnPlateau(one)])
