"""Learning-rate schedules that go up and down: CyclicLR, OneCycleLR, CosineAnnealingWarmRestarts."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any

from accelgrad.optim.optimizer import Group, Optimizer
from accelgrad.optim.schedule import LRScheduler, for_each_group, must_be_optimizer, rates, set_lr

__all__ = ["CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR"]


class _WithMomentum(LRScheduler):
    """The base of schedules that move the momentum (or Adam's beta1) against the learning rate."""

    cycle_momentum: bool
    use_beta1: bool

    def _prepare_momentum(self, optimizer: Optimizer, base: Any, highest: Any, last_epoch: int) -> None:
        """Find which setting is the momentum, and set it to its highest value; ValueError without one."""
        if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
            raise ValueError("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")
        self.use_beta1 = "betas" in optimizer.defaults
        self.base_momentums = for_each_group("base_momentum", optimizer, base)
        self.max_momentums = for_each_group("max_momentum", optimizer, highest)
        if last_epoch == -1:
            for low, high, group in zip(
                self.base_momentums, self.max_momentums, optimizer.param_groups, strict=True
            ):
                self._set_momentum(group, high)
                group["max_momentum"], group["base_momentum"] = high, low

    def _set_momentum(self, group: Group, value: float) -> None:
        """Set a group's momentum, or its beta1."""
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value


class CyclicLR(_WithMomentum):
    """Cycles of the rate: up from ``base_lr`` to ``max_lr`` and down again.

    At a fraction x of the way up (``step_size_up`` steps) or down (``step_size_down``), in cycle c::

        lr = base_lr + (max_lr - base_lr) x height

    ``mode`` says how high the cycles are: "triangular" (1), "triangular2" (1 / 2^(c - 1)) or "exp_range"
    (gamma^step); or ``scale_fn`` does, as a function of the cycle or the step (``scale_mode`` "cycle" or
    "iterations").  ``step`` is called after every batch.  With ``cycle_momentum`` the momentum, or Adam's
    beta1, goes from ``max_momentum`` down to ``base_momentum`` and up again.  Smith 2017.  ValueError for an
    unknown ``mode``, and where an optimizer without momentum shall cycle it.

    >>> import accelgrad
    >>> optimizer = accelgrad.optim.SGD([accelgrad.nn.Parameter(accelgrad.ones(1))], lr=1.0)
    >>> schedule = CyclicLR(optimizer, base_lr=0.0, max_lr=1.0, step_size_up=2, cycle_momentum=False)
    >>> rates = []
    >>> for epoch in range(5):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step(); schedule.step()
    >>> rates
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        must_be_optimizer(optimizer)
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError("mode is invalid and scale_fn is None")

        # The rates at both ends, and the first ones.
        base_lrs = for_each_group("base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for lr, group in zip(base_lrs, optimizer.param_groups, strict=True):
                set_lr(group, lr)
        self.max_lrs = for_each_group("max_lr", optimizer, max_lr)

        # The form of a cycle.
        down = step_size_up if step_size_down is None else step_size_down
        self.total_size = float(step_size_up) + float(down)
        self.step_ratio = float(step_size_up) / self.total_size
        self.mode, self.gamma = mode, gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = (
            scale_mode if scale_fn is not None else "iterations" if mode == "exp_range" else "cycle"
        )

        # The momentum against it, and the step to epoch 0.
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._prepare_momentum(optimizer, base_momentum, max_momentum, last_epoch)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """The height of cycle ``x``, or at step ``x``."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular2":
            return 1 / 2.0 ** (x - 1)
        return self.gamma**x if self.mode == "exp_range" else 1.0

    def get_lr(self) -> list[Any]:
        """The rates for ``last_epoch``; the momentum is set as well."""
        turns = self.last_epoch / self.total_size
        cycle = math.floor(1 + turns)
        x = 1.0 + turns - cycle
        part = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        height = part * self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            for low, high, group in zip(
                self.base_momentums, self.max_momentums, self.optimizer.param_groups, strict=True
            ):
                self._set_momentum(group, high - (high - low) * height)
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """The attributes that a checkpoint needs: all but the optimizer and a plain scale function.

        Of a scale function that is an object, its attributes.
        """
        state = super().state_dict()
        own = state.pop("_scale_fn_custom")
        state["_scale_fn_custom"] = (
            None if own is None or isinstance(own, types.FunctionType) else dict(own.__dict__)
        )
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        attributes = state_dict.get("_scale_fn_custom")
        super().load_state_dict(
            {key: value for key, value in state_dict.items() if key != "_scale_fn_custom"}
        )
        if attributes is not None and self._scale_fn_custom is not None:
            self._scale_fn_custom.__dict__.update(attributes)


class OneCycleLR(_WithMomentum):
    """One rise of the rate to ``max_lr``, and one long fall to almost nothing.

    From ``max_lr / div_factor`` it rises within the fraction ``pct_start`` of all steps, and falls to
    1 / ``final_div_factor`` of the start; with ``three_phase`` it falls to the start at first, as fast as it
    rose.  ``anneal_strategy``: along half a cosine ("cos") or a straight line ("linear").  ``step`` is called
    after every batch, ``total_steps`` (or ``epochs * steps_per_epoch``) times in all.  With
    ``cycle_momentum`` the momentum, or Adam's beta1, goes from ``max_momentum`` to ``base_momentum`` and
    back.  Smith & Topin 2018.

    ValueError for a setting outside its range, for an optimizer without momentum that shall be moved, and for
    a step too many.

    >>> import accelgrad
    >>> optimizer = accelgrad.optim.SGD([accelgrad.nn.Parameter(accelgrad.ones(1))], lr=1.0, momentum=0.9)
    >>> schedule = OneCycleLR(
    ...     optimizer, max_lr=1.0, total_steps=6, pct_start=0.5, div_factor=4.0, anneal_strategy="linear"
    ... )
    >>> rates = []
    >>> for epoch in range(6):
    ...     rates += [round(rate, 4) for rate in schedule.get_last_lr()]
    ...     optimizer.step(); schedule.step()
    >>> rates
    [0.25, 0.625, 1.0, 0.6667, 0.3334, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        must_be_optimizer(optimizer)

        # How many steps there are.
        for name, value in (
            ("total_steps", total_steps),
            ("epochs", epochs),
            ("steps_per_epoch", steps_per_epoch),
        ):
            if value is not None and (not isinstance(value, int) or value <= 0):
                raise ValueError(f"Expected positive integer {name}, but got {value}")
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
            total_steps = epochs * steps_per_epoch
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )

        # The phases: the step in which each ends, and the names of rate and momentum at its start and end.
        self.total_steps = total_steps
        self._anneal_func_type = anneal_strategy
        up = (pct_start * total_steps - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum")
        if three_phase:
            back = (2 * pct_start * total_steps - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum")
            out = (total_steps - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum")
            self._phases = [up, back, out]
        else:
            self._phases = [up, (total_steps - 1, "max_lr", "min_lr", "base_momentum", "max_momentum")]

        # The rates between which they move, the momentum, and the step to epoch 0.
        if last_epoch == -1:
            for group, highest in zip(
                optimizer.param_groups, for_each_group("max_lr", optimizer, max_lr), strict=True
            ):
                group["initial_lr"] = highest / div_factor
                group["max_lr"] = highest
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._prepare_momentum(optimizer, base_momentum, max_momentum, last_epoch)
        super().__init__(optimizer, last_epoch)

    def _between(self, start: float, end: float, part: float) -> float:
        """The value at the fraction ``part`` of the way from ``start`` to ``end``."""
        if self._anneal_func_type == "cos":
            return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)
        return (end - start) * part + start

    def get_lr(self) -> list[Any]:
        """The rates for ``last_epoch``; the momentum is set as well.  ValueError after ``total_steps``."""
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(
                f"Tried to step {step} times. The specified number of total steps is {self.total_steps}"
            )
        start = 0.0
        for phase in self._phases:
            end, *names = phase
            if step <= end or end == self.total_steps - 1:
                break
            start = end
        part = (step - start) / (end - start)
        values = []
        for group in self.optimizer.param_groups:
            from_lr, to_lr, from_momentum, to_momentum = (group.get(name, 0.0) for name in names)
            values.append(self._between(from_lr, to_lr, part))
            if self.cycle_momentum:
                self._set_momentum(group, self._between(from_momentum, to_momentum, part))
        return values


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from ``initial_lr`` to ``eta_min``, again and again, each ``T_mult`` times as long.

    With T_cur epochs since the last restart and T_i from one restart to the next (``T_0`` at first)::

        lr = eta_min + (initial_lr - eta_min) (1 + cos(pi T_cur / T_i)) / 2

    Loshchilov & Hutter 2017 (SGDR), equation 5.  ``step(epoch)`` takes fractions, to be called after every
    batch.  ValueError unless ``T_0`` and ``T_mult`` are positive integers, and for a negative epoch.

    >>> import accelgrad
    >>> optimizer = accelgrad.optim.SGD([accelgrad.nn.Parameter(accelgrad.ones(1))], lr=1.0)
    >>> schedule = CosineAnnealingWarmRestarts(optimizer, T_0=2, T_mult=2)
    >>> rates = []
    >>> for epoch in range(7):
    ...     rates += [round(rate, 4) for rate in schedule.get_last_lr()]
    ...     optimizer.step(); schedule.step()
    >>> rates
    [1.0, 0.5, 1.0, 0.8536, 0.5, 0.1464, 1.0]
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if not isinstance(T_0, int) or T_0 <= 0:
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if not isinstance(T_mult, int) or T_mult < 1:
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        if not isinstance(eta_min, int | float):
            raise ValueError(f"Expected float or int eta_min, but got {eta_min} of type {type(eta_min)}")
        self.T_0 = self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """The rates at ``T_cur`` epochs after a restart."""
        height = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * height for base in self.base_lrs]

    def step(self, epoch: Any = None) -> None:
        """Go to the next epoch, or to ``epoch``, which may be a fraction."""
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            if epoch < 0:
                raise ValueError(f"Expected non-negative epoch, but got {epoch}")
            length, start = self.T_0, 0
            if self.T_mult == 1:
                start = epoch // length * length
            else:
                # Go to the period that holds this epoch.
                while epoch >= start + length:
                    start += length
                    length *= self.T_mult
            self.T_cur, self.T_i = epoch - start, length
        self.last_epoch = math.floor(epoch)
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            set_lr(group, lr)
        self._last_lr = rates(self.optimizer)
