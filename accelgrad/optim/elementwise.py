"""Elementwise: an optimizer whose step is one formula for every element, for all parameters in one call.

Writing one takes a formula of :mod:`accelgrad.kernels.updates`, the names of the arrays that it keeps, and
the numbers that it is given::

    class Adagrad(Elementwise):
        formula = staticmethod(updates.adagrad)

        def kept(self, group):
            return ("sum",)

        def numbers(self, group, t):
            t += 1
            return (number(group["lr"]) / (1 + (t - 1) * group["lr_decay"]), group["eps"]), {"step": t}
"""

from __future__ import annotations

from typing import Any, ClassVar

from accelgrad.core.foreach import update_all
from accelgrad.core.tensor import Tensor
from accelgrad.kernels.updates import Formula
from accelgrad.optim.optimizer import Group, Optimizer, State, number, zeros_like

__all__ = ["Elementwise"]

Numbers = tuple[float, ...]


class Elementwise(Optimizer):
    """The base of optimizers whose step is one formula for every element.

    A subclass gives ``formula``, :meth:`kept` and :meth:`numbers`; this class adds the state, ``maximize``
    and weight decay.  :class:`~accelgrad.optim.Adagrad` is a short one to read.

    >>> import accelgrad
    >>> def average_descent(xp, x, g, mean, /, rate, part):
    ...     mean += part * (g - mean)
    ...     x -= rate * mean
    ...     return x, mean
    >>> class AverageDescent(Elementwise):
    ...     formula = staticmethod(average_descent)
    ...     def kept(self, group):
    ...         return ("mean",)
    ...     def numbers(self, group, t):
    ...         return (group["lr"], 0.5), {"step": t + 1}
    >>> x = accelgrad.nn.Parameter(accelgrad.tensor([1.0]))
    >>> x.grad = accelgrad.tensor([2.0])
    >>> AverageDescent([x], {"lr": 0.25}).step()
    >>> x.detach()
    tensor([0.7500])
    """

    formula: ClassVar[Formula]

    def kept(self, group: Group) -> tuple[str | None, ...]:
        """The names, in a parameter's state, of the arrays that the formula keeps, in the formula's order.

        None stands for an array that this group does without.
        """
        raise NotImplementedError

    def numbers(self, *args: Any, **kwargs: Any) -> tuple[Numbers, State]:
        """``numbers(group, *scalars)``: the formula's numbers in this step, and the new scalars.

        ``scalars`` are the entries ``self.scalars`` of a parameter's state before the step, "step" among
        them.
        """
        raise NotImplementedError

    def start(self, parameter: Tensor, group: Group) -> State:
        """A step count of 0, and arrays of zeros."""
        return {"step": 0.0} | {name: zeros_like(parameter) for name in self.kept(group) if name}

    def update(self, group: Group) -> None:
        """Make one step on all parameters of the group, in one call for each device and dtype."""
        for xp, params in self.active(group):
            states = []
            for one in params:
                state = self.state[one]
                if not state:
                    state.update(self.start(one, group))
                states.append(state)
            kept = [name and [state[name].array for state in states] for name in self.kept(group)]
            self.apply(xp, params, kept, self._numbers(group, states), group)

    def _numbers(self, group: Group, states: list[State]) -> Numbers | list[Numbers]:
        """The numbers for all parameters, or a list with those of each where their states differ."""
        before = [states[0][name] for name in self.scalars]
        for name in self.scalars:
            value = states[0][name]
            for state in states:
                if state[name] != value:
                    return [self._numbers_of(group, state) for state in states]
        numbers, after = self.numbers(group, *before)
        for state in states:
            state.update(after)
        return numbers

    def _numbers_of(self, group: Group, state: State) -> Numbers:
        """The numbers for one parameter, whose state goes on to the next step."""
        numbers, after = self.numbers(group, *[state[name] for name in self.scalars])
        state.update(after)
        return numbers

    def apply(
        self, xp: Any, params: list[Tensor], kept: list[Any], numbers: Numbers | list[Numbers], group: Group
    ) -> None:
        """Change ``params`` by the formula, after ``maximize`` and weight decay, which all of them share."""
        decay, shrink = group.get("weight_decay", 0.0), 1.0
        if decay and group.get("decoupled_weight_decay"):
            decay, shrink = 0.0, 1 - number(group["lr"]) * decay
        grads = [one._grad.array for one in params]  # type: ignore[union-attr]
        sign = -1.0 if group.get("maximize") else 1.0
        update_all(xp, params, self.formula, [grads, *kept], numbers, sign, decay, shrink)
