"""The base of learning-rate schedules, and the helpers that they share."""

from __future__ import annotations

import warnings
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.optim.optimizer import Group, Optimizer

__all__ = ["LRScheduler", "for_each_group", "must_be_optimizer", "rates", "set_lr"]


def set_lr(group: Group, lr: float) -> None:
    """Set the learning rate of a group; one that is a tensor stays the same tensor."""
    if isinstance(group["lr"], Tensor):
        group["lr"].array[...] = float(lr)
    else:
        group["lr"] = lr


def rates(optimizer: Optimizer, name: str = "lr") -> list[Any]:
    """The learning rate of every group, with copies of those that are tensors."""
    return [
        group[name].detach().clone() if isinstance(group[name], Tensor) else group[name]
        for group in optimizer.param_groups
    ]


def for_each_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """One setting as a list with an entry for each group; a list is taken as it is.

    ValueError for a list of another length.
    """
    if isinstance(value, list | tuple):
        if len(value) != len(optimizer.param_groups):
            raise ValueError(
                f"{name} must have the same length as optimizer.param_groups."
                f" {name} has {len(value)} values, param_groups has {len(optimizer.param_groups)}."
            )
        return list(value)
    return [value] * len(optimizer.param_groups)


def must_be_optimizer(optimizer: Any) -> None:
    """Raise TypeError for what is not an Optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


class LRScheduler:
    """The base of the schedules: a subclass defines ``get_lr``, which returns the rates for ``last_epoch``.

    A schedule sets ``lr`` in each group of its optimizer; call ``schedule.step()`` after
    ``optimizer.step()``, once an epoch (or once a batch, if the schedule counts batches).  ``last_epoch=-1``
    starts afresh; otherwise the groups must know their ``initial_lr`` from before.

    TypeError for what is not an Optimizer, KeyError for a group without ``initial_lr`` when ``last_epoch`` is
    not -1.  A step before the optimizer's first one is warned of.

    >>> import accelgrad
    >>> class HalveLR(LRScheduler):
    ...     def get_lr(self):
    ...         return [base * 0.5**self.last_epoch for base in self.base_lrs]
    >>> optimizer = accelgrad.optim.SGD([accelgrad.nn.Parameter(accelgrad.ones(1))], lr=1.0)
    >>> schedule = HalveLR(optimizer)
    >>> for epoch in range(3):
    ...     optimizer.step(); schedule.step()
    >>> schedule.get_last_lr()
    [0.125]
    """

    _is_initial = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        must_be_optimizer(optimizer)
        self.optimizer = optimizer
        for place, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                lr = group["lr"]
                group.setdefault("initial_lr", lr.detach().clone() if isinstance(lr, Tensor) else lr)
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{place}] when resuming scheduler"
                    " with last_epoch >= 0: load the optimizer's state first"
                )
        self.base_lrs = rates(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self) -> None:
        """Make the step to epoch 0, before any training."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def get_lr(self) -> list[Any]:
        """The rates for ``last_epoch``, one for each group; ``step`` calls it."""
        raise NotImplementedError(f"{type(self).__name__} defines get_lr")

    def _get_closed_form_lr(self) -> list[Any]:
        """The rates for ``last_epoch`` by a formula that needs no present rate, if the subclass has one."""
        return self.get_lr()

    def get_last_lr(self) -> list[Any]:
        """The rates that are set now, one for each group."""
        return self._last_lr

    def step(self, epoch: Any = None) -> None:
        """Go to the next epoch, after the optimizer's step; or jump to ``epoch`` (deprecated)."""
        if self._step_count == 1 and not self.optimizer._opt_called:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`."
                " Call them in the opposite order, or the first value of the schedule is skipped.",
                UserWarning,
                stacklevel=2,
            )
        self._step_count += 1
        if epoch is not None:
            warnings.warn(
                "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated"
                " where possible."
                " Please use `scheduler.step()` to step the scheduler.",
                UserWarning,
                stacklevel=2,
            )
        self._update_lr(epoch)

    def _update_lr(self, epoch: Any = None) -> None:
        """Set the rates of the next epoch, or of ``epoch``, by the closed form."""
        if epoch is None:
            self.last_epoch += 1
            values = self.get_lr()
        else:
            self.last_epoch = epoch
            values = self._get_closed_form_lr()
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            set_lr(group, lr)
        self._last_lr = rates(self.optimizer)

    def _scaled(self, factor: float) -> list[Any]:
        """The present rates times ``factor``."""
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The attributes that a checkpoint needs: all but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key not in ("optimizer", "_is_initial")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what ``state_dict`` gave."""
        self.__dict__.update(state_dict)
