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
    """Adagrad::

        s = s + g²
        x = x - lr / (1 + (t - 1) lr_decay)  g / (sqrt(s) + eps)

    Duchi, Hazan & Singer 2011.
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
        """As in Optimizer; the sums exist from the beginning."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for one in group["params"]:
            self.state[one] = self.start(one, group)

    def start(self, parameter: Tensor, group: Group) -> State:
        """The sum may begin with something."""
        total = full_like(parameter, group["initial_accumulator_value"])
        return super().start(parameter, group) | {"sum": total}

    def kept(self, group: Group) -> tuple[str | None, ...]:
        """s."""
        return ("sum",)

    def numbers(self, group: Group, t: float) -> tuple[Numbers, State]:
        """The rate sinks with every step."""
        t += 1
        return (number(group["lr"]) / (1 + (t - 1) * group["lr_decay"]), group["eps"]), {"step": t}
