"""What optim, amp and autograd have of PyTorch's stands in files of PyTorch's names."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import warnings
from typing import Any

import pytest

import accelgrad
from accelgrad import optim

torch = pytest.importorskip("torch")


def files(package: str) -> list[str]:
    """The public modules of a package, subpackages aside."""
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return [one.name for one in found if not one.ispkg and not one.name.startswith("_")]


def ours(package: str) -> dict[str, Any]:
    """Everything public in a package of ours, in whichever of its files it stands."""
    modules = [
        importlib.import_module(f"accelgrad.{package}.{name}") for name in files(f"accelgrad.{package}")
    ]
    return {name: getattr(module, name) for module in modules for name in module.__all__}


def theirs() -> list[Any]:
    """(module, name) of every public class and function of PyTorch's that we have too."""
    found = []
    for package in ("optim", "amp", "autograd"):
        known = ours(package)
        for file in files(f"torch.{package}"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = importlib.import_module(f"torch.{package}.{file}")
            for name, value in vars(module).items():
                here = getattr(value, "__module__", None) == module.__name__
                if here and name in known and (inspect.isclass(value) or inspect.isfunction(value)):
                    found.append(pytest.param(f"{package}.{file}", name, known[name], id=f"{file}.{name}"))
    return found


@pytest.mark.parametrize(("path", "name", "value"), theirs())
def test_a_name_stands_in_the_file_of_pytorchs_name(path: str, name: str, value: Any):
    module = importlib.import_module(f"accelgrad.{path}")
    assert getattr(module, name, None) is value, f"from torch.{path} import {name} works in PyTorch"


def test_the_comparison_sees_every_kind_of_name():
    names = {one.id for one in theirs()}
    assert {
        "adamw.AdamW", "lr_scheduler.CyclicLR", "lr_scheduler.LRScheduler", "swa_utils.SWALR",
        "optimizer.Optimizer", "autocast_mode.autocast", "grad_scaler.GradScaler", "function.Function",
        "functional.jacobian", "gradcheck.gradcheck", "grad_mode.no_grad", "anomaly_mode.detect_anomaly",
        "variable.Variable",
    } <= names  # fmt: skip


def test_the_older_name_of_the_base_of_schedules_is_kept():
    assert optim.lr_scheduler._LRScheduler is optim.lr_scheduler.LRScheduler
    assert accelgrad.autograd.grad_mode.no_grad is accelgrad.no_grad
