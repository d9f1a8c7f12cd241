"""Optimizers and learning-rate schedules under PyTorch's names."""

from accelgrad.optim import lr_scheduler as lr_scheduler
from accelgrad.optim.adam import Adam, AdamW
from accelgrad.optim.adaptive import Adadelta, Adagrad, Adamax, NAdam, RAdam, RMSprop
from accelgrad.optim.classic import ASGD, Rprop
from accelgrad.optim.optimizer import Optimizer
from accelgrad.optim.sgd import SGD

__all__ = [
    "ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "Optimizer", "RAdam", "RMSprop",
    "Rprop", "SGD",
    "lr_scheduler",
]  # fmt: skip
