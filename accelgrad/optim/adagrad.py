"""Adagrad: steps divided by the root of the sum of all squared gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.kernels import updates
from accelgrad.optim.elementwise import Elementwise, Numbers
from accelgrad.optim.optimizer import Group, State, check_positive, full_like, number, refuse

__all__ = ["Adagrad"]


class Adagrad(Elementwise):
    """Adagrad: the gradient, divided for each element by the root of the sum of its squares so far.

    Step t on a parameter x::

        g = grad + weight_decay x
        s = s + g²                                  (s = ``initial_accumulator_value`` before the first step)
        x = x - lr / (1 + (t - 1) lr_decay)  g / (sqrt(s) + eps)

    Duchi, Hazan & Singer 2011.  ValueError for a negative setting.

    >>> import accelgrad
    >>> x = accelgrad.nn.Parameter(accelgrad.tensor([1.0, -1.0]))
    >>> optimizer = Adagrad([x], lr=0.1)
    >>> for _ in range(2):
    ...     x.grad = accelgrad.tensor([2.0, -0.5])
    ...     optimizer.step()
    >>> x.detach()
    tensor([ 0.8293, -0.8293])
    """

    formula = staticmethod(updates.adagrad)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_positive(lr=lr, lr_decay=lr_decay, weight_decay=weight_decay)
        check_positive(initial_accumulator_value=initial_accumulator_value, eps=eps)
        refuse("Adagrad", differentiable)
        defaults = {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group, and begin the sums of its parameters at once, as PyTorch does."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for one in group["params"]:
            self.state[one] = self.start(one, group)

    def start(self, parameter: Tensor, group: Group) -> State:
        """The sum s begins with ``initial_accumulator_value``."""
        total = full_like(parameter, group["initial_accumulator_value"])
        return super().start(parameter, group) | {"sum": total}

    def kept(self, group: Group) -> tuple[str | None, ...]:
        """The sum s of the squares."""
        return ("sum",)

    def numbers(self, group: Group, t: float) -> tuple[Numbers, State]:
        t += 1
        return (number(group["lr"]) / (1 + (t - 1) * group["lr_decay"]), group["eps"]), {"step": t}
