"""Averages of a model's weights along its training path: AveragedModel, SWALR, update_bn."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

from accelgrad.arrays import dtypes
from accelgrad.core.foreach import by_kind, update_all
from accelgrad.core.modes import no_grad
from accelgrad.core.tensor import Tensor
from accelgrad.kernels import updates
from accelgrad.nn.modules.batchnorm import _BatchNorm
from accelgrad.nn.modules.module import Module
from accelgrad.nn.parameter import empty
from accelgrad.optim.optimizer import Optimizer
from accelgrad.optim.schedule import LRScheduler, for_each_group

__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn",
    "get_swa_multi_avg_fn", "update_bn",
]  # fmt: skip

Average = Callable[[Tensor, Tensor, Any], Tensor]
MultiAverage = Callable[[list[Tensor], list[Tensor], Any], None]


def get_swa_avg_fn() -> Average:
    """The function that averages one tensor of all models so far equally, for :class:`AveragedModel`.

    ``average + (x - average) / (n + 1)``, where n models are in the average: Izmailov et al. 2018, Algorithm
    1.

    >>> import accelgrad
    >>> average = get_swa_avg_fn()
    >>> average(accelgrad.tensor([1.0]), accelgrad.tensor([4.0]), 2)
    tensor([2.])
    """

    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        with no_grad():
            return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """The function that takes one tensor into an exponential moving average, for :class:`AveragedModel`.

    ``decay average + (1 - decay) x``; ValueError for a decay outside [0, 1].

    >>> import accelgrad
    >>> average = get_ema_avg_fn(0.9)
    >>> average(accelgrad.tensor([1.0]), accelgrad.tensor([2.0]), 5)
    tensor([1.1000])
    """
    _check_decay(decay)

    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        with no_grad():
            return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_multi_avg_fn() -> MultiAverage:
    """The average of :func:`get_swa_avg_fn` for lists of tensors, written into the first list.

    All tensors of a device and dtype are averaged in one call.

    >>> import accelgrad
    >>> averages = [accelgrad.tensor([1.0]), accelgrad.tensor([1.0, 2.0])]
    >>> get_swa_multi_avg_fn()(averages, [accelgrad.tensor([4.0]), accelgrad.tensor([4.0, 5.0])], 2)
    >>> averages
    [tensor([2.]), tensor([2., 3.])]
    """

    def numbers(xp: Any, own: Tensor, num_averaged: Any) -> Any:
        if not isinstance(num_averaged, Tensor):
            return (num_averaged + 1,)
        # It stays on its device: the host need not wait for it.
        with xp.scope():
            return xp.astype(xp.reshape(num_averaged.to(own.device).array + 1, (1,)), own.array.dtype)

    return _in_place(updates.equal_average, numbers, get_swa_avg_fn())


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """The average of :func:`get_ema_avg_fn` for lists of tensors, written into the first list.

    All tensors of a device and dtype are averaged in one call.  ValueError for a decay outside [0, 1].

    >>> import accelgrad
    >>> averages = [accelgrad.tensor([1.0])]
    >>> get_ema_multi_avg_fn(0.9)(averages, [accelgrad.tensor([2.0])], 5)
    >>> averages
    [tensor([1.1000])]
    """
    average = get_ema_avg_fn(decay)
    return _in_place(updates.exponential_average, lambda *count: (decay, 1 - decay), average)


def _check_decay(decay: float) -> None:
    """Raise ValueError for a decay outside [0, 1]."""
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def _in_place(formula: updates.Formula, numbers: Callable[..., Any], average: Average) -> MultiAverage:
    """The function that applies the formula to all tensors of a device and dtype at once.

    Integers, which the formula would turn into floats, are averaged one by one.
    """

    def update(averaged: list[Tensor], current: list[Tensor], num_averaged: Any) -> None:
        partners = {id(own): one for own, one in zip(averaged, current, strict=True)}
        for xp, alike in by_kind(averaged):
            others = [partners[id(own)] for own in alike]
            if alike[0].dtype.is_floating_point:
                others = [one.to(own.device, own.dtype) for own, one in zip(alike, others, strict=True)]
                arrays = [one.array for one in others]
                update_all(xp, alike, formula, [arrays], numbers(xp, alike[0], num_averaged))
                continue
            with no_grad():
                for own, one in zip(alike, others, strict=True):
                    own.copy_(average(own, one, num_averaged))

    return update


class AveragedModel(Module):
    """A copy of ``model`` whose parameters are averages over the calls of ``update_parameters(model)``.

    The copy is ``module``, the number of calls ``n_averaged``.  By default the average is an equal one
    (Izmailov et al. 2018); ``avg_fn(average, x, n)`` gives another for one tensor, ``multi_avg_fn(averages,
    xs, n)`` for all of them, in place: :func:`get_ema_multi_avg_fn` for an exponential one.  ``use_buffers``
    averages the buffers too; otherwise they are copied.  AssertionError where both functions are given.

    >>> import accelgrad
    >>> from accelgrad import nn
    >>> model = nn.Linear(1, 1, bias=False)
    >>> averaged = AveragedModel(model)
    >>> for weight in (1.0, 2.0, 6.0):
    ...     _ = nn.init.constant_(model.weight, weight)
    ...     averaged.update_parameters(model)
    >>> averaged.module.weight.item()
    3.0
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", empty((), device=device, dtype=dtypes.int64).zero_())
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the averaged model."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the present parameters of ``model`` into the average."""

        def tensors(one: Module) -> list[Tensor]:
            kept: Iterable[Tensor] = one.parameters()
            if self.use_buffers:
                kept = itertools.chain(kept, one.buffers())
            return [tensor.detach() for tensor in kept]

        averaged, current = tensors(self.module), tensors(model)
        with no_grad():
            current = [one.to(own.device) for one, own in zip(current, averaged, strict=True)]
            count = self.n_averaged.item()
            if count == 0:
                for own, one in zip(averaged, current, strict=True):
                    own.copy_(one)
            elif self.avg_fn is not None:
                for own, one in zip(averaged, current, strict=True):
                    own.copy_(self.avg_fn(own, one, self.n_averaged.to(own.device)))
            else:
                average = self.multi_avg_fn or get_swa_multi_avg_fn()
                for _, alike in by_kind(averaged):
                    present = {id(own) for own in alike}
                    chosen = [one for own, one in zip(averaged, current, strict=True) if id(own) in present]
                    average(alike, chosen, self.n_averaged.to(alike[0].device))
            if not self.use_buffers:
                for own, one in zip(self.module.buffers(), model.buffers(), strict=True):
                    own.detach().copy_(one.detach().to(own.device))
            self.n_averaged += 1


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the statistics of every BatchNorm anew, as plain averages over one pass of ``loader``.

    The activations of averaged weights are others than those whose statistics were gathered in training.
    Batches are tensors, or lists and tuples of which the first entry goes into the model, on ``device`` if it
    is given.

    >>> import accelgrad
    >>> norm = accelgrad.nn.BatchNorm1d(1)
    >>> update_bn([accelgrad.tensor([[0.0], [2.0]]), accelgrad.tensor([[4.0], [6.0]])], norm)
    >>> norm.running_mean
    tensor([3.])
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return
    momenta = [module.momentum for module in norms]
    training = model.training
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # the cumulative average
    model.train()
    try:
        with no_grad():
            for batch in loader:
                input = batch[0] if isinstance(batch, list | tuple) else batch
                model(input if device is None else input.to(device))
    finally:
        for module, momentum in zip(norms, momenta, strict=True):
            module.momentum = momentum
        model.train(training)


class SWALR(LRScheduler):
    """From the present learning rate to the constant ``swa_lr`` within ``anneal_epochs`` epochs.

    Along half a cosine (``anneal_strategy`` "cos") or a straight line ("linear").  It may take over from
    another schedule in the middle of a training.  ValueError for another strategy, and unless
    ``anneal_epochs`` is an integer of at least 0.

    >>> import accelgrad
    >>> optimizer = accelgrad.optim.SGD([accelgrad.nn.Parameter(accelgrad.ones(1))], lr=1.0)
    >>> schedule = SWALR(optimizer, swa_lr=0.5, anneal_epochs=2, anneal_strategy="linear")
    >>> for epoch in range(3):
    ...     optimizer.step(); schedule.step(); print(schedule.get_last_lr()[0], end=" ")
    0.75 0.5 0.5
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        for rate, group in zip(
            for_each_group("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True
        ):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step: int) -> float:
        """The part of the way to ``swa_lr`` that is done after so many steps, 0 to 1."""
        t = max(0.0, min(1.0, step / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def get_lr(self) -> list[Any]:
        """The rates for the next step; the rate at the start is found again from the present one."""
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        values = []
        for group in self.optimizer.param_groups:
            target = group["swa_lr"]
            first = target if before == 1 else (group["lr"] - before * target) / (1 - before)
            values.append(target * now + first * (1 - now))
        return values
