"""Optimizers and learning-rate schedules under PyTorch's names, in files of PyTorch's names."""

from __future__ import annotations

import importlib as _importlib
from typing import Any as _Any

from accelgrad.optim import lr_scheduler as lr_scheduler
from accelgrad.optim.adadelta import Adadelta
from accelgrad.optim.adafactor import Adafactor
from accelgrad.optim.adagrad import Adagrad
from accelgrad.optim.adam import Adam
from accelgrad.optim.adamax import Adamax
from accelgrad.optim.adamw import AdamW
from accelgrad.optim.asgd import ASGD
from accelgrad.optim.lbfgs import LBFGS
from accelgrad.optim.muon import Muon
from accelgrad.optim.nadam import NAdam
from accelgrad.optim.optimizer import Optimizer
from accelgrad.optim.radam import RAdam
from accelgrad.optim.rmsprop import RMSprop
from accelgrad.optim.rprop import Rprop
from accelgrad.optim.sgd import SGD

__all__ = [
    "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam",
    "Optimizer", "RAdam", "RMSprop", "Rprop", "SGD",
    "lr_scheduler", "swa_utils",
]  # fmt: skip


def __getattr__(name: str) -> _Any:
    """``optim.swa_utils`` uses modules, which lie above this package, so it is imported when first named."""
    if name == "swa_utils":
        return _importlib.import_module("accelgrad.optim.swa_utils")
    raise AttributeError(f"module 'accelgrad.optim' has no attribute {name!r}")
