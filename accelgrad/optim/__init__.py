"""Optimizers and learning-rate schedules under PyTorch's names."""

from __future__ import annotations

from typing import Any as _Any

from accelgrad.optim import lr_scheduler as lr_scheduler
from accelgrad.optim.adafactor import Adafactor
from accelgrad.optim.adam import Adam, AdamW
from accelgrad.optim.adaptive import Adadelta, Adagrad, Adamax, NAdam, RAdam, RMSprop
from accelgrad.optim.classic import ASGD, Rprop
from accelgrad.optim.lbfgs import LBFGS
from accelgrad.optim.muon import Muon
from accelgrad.optim.optimizer import Optimizer
from accelgrad.optim.sgd import SGD

__all__ = [
    "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam",
    "Optimizer", "RAdam", "RMSprop", "Rprop", "SGD",
    "lr_scheduler", "swa_utils",
]  # fmt: skip


def __getattr__(name: str) -> _Any:
    """``optim.swa_utils`` makes modules, so it lies above this package and is imported when it is named."""
    if name == "swa_utils":
        import importlib

        return importlib.import_module("accelgrad.optim.swa_utils")
    raise AttributeError(f"module 'accelgrad.optim' has no attribute {name!r}")
