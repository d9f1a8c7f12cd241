"""Every optimizer and every schedule is exported, and has a case in a table of these tests."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Sized

import pytest

from accelgrad import optim
from accelgrad.optim import lr_scheduler
from accelgrad.optim.optimizer import Optimizer

from . import test_lbfgs, test_lr_scheduler, test_optimizers, test_swa_utils

BASES = {"Optimizer", "Elementwise", "LRScheduler"}
"""Classes to derive from: they make no step, so they need no case."""


def public(base: type) -> dict[str, type]:
    """The public classes of ``base`` that are written in a file of accelgrad.optim, by their names."""
    found = {}
    for file in pkgutil.iter_modules(optim.__path__):
        module = importlib.import_module(f"accelgrad.optim.{file.name}")
        for name, value in vars(module).items():
            own = inspect.isclass(value) and value.__module__ == module.__name__
            if own and issubclass(value, base) and not name.startswith("_") and name not in BASES:
                found[name] = value
    return found


def optimizer_cases() -> dict[str, Sized]:
    return {**test_optimizers.KINDS, "LBFGS": test_lbfgs.SETTINGS}


def schedule_cases() -> dict[str, Sized]:
    made = [make(lr_scheduler, test_lr_scheduler.ours()) for make in test_lr_scheduler.SCHEDULES.values()]
    return {
        **{type(one).__name__: [one] for one in made},
        "ReduceLROnPlateau": test_lr_scheduler.PLATEAUS,
        "SWALR": test_swa_utils.RATES,
    }


@pytest.mark.parametrize("name", sorted(public(Optimizer)))
def test_an_optimizer_is_exported_and_compared_with_pytorchs(name: str) -> None:
    assert name in optim.__all__ and getattr(optim, name) is public(Optimizer)[name]
    assert len(optimizer_cases().get(name, ())), f"{name} has no settings in KINDS of test_optimizers.py"


@pytest.mark.parametrize("name", sorted(public(lr_scheduler.LRScheduler)))
def test_a_schedule_is_exported_and_compared_with_pytorchs(name: str) -> None:
    home = optim.swa_utils if name == "SWALR" else lr_scheduler
    assert name in home.__all__ and getattr(home, name) is public(lr_scheduler.LRScheduler)[name]
    assert len(schedule_cases().get(name, ())), f"{name} has no case in SCHEDULES of test_lr_scheduler.py"


def test_the_tables_name_only_classes_that_exist() -> None:
    assert optimizer_cases().keys() == public(Optimizer).keys()
    assert schedule_cases().keys() == public(lr_scheduler.LRScheduler).keys()
