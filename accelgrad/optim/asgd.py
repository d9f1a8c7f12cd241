"""ASGD: averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.kernels import updates
from accelgrad.optim.elementwise import Elementwise, Numbers
from accelgrad.optim.optimizer import Group, State, check_positive, number, refuse

__all__ = ["ASGD"]


class ASGD(Elementwise):
    """Averaged stochastic gradient descent: the average of the path is kept in ``state[x]["ax"]`` from step
    ``t0`` on.

    Polyak & Juditsky 1992.
    """

    scalars = ("step", "eta", "mu")

    formula = staticmethod(updates.asgd)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_positive(lr=lr, weight_decay=weight_decay)
        refuse("ASGD", differentiable)
        defaults = {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def start(self, parameter: Tensor, group: Group) -> State:
        """The first rate is lr, the first weight in the average 1."""
        return {"eta": number(group["lr"]), "mu": 1.0, **super().start(parameter, group)}

    def kept(self, group: Group) -> tuple[str | None, ...]:
        """The average."""
        return ("ax",)

    def numbers(self, group: Group, t: float, eta: float, mu: float) -> tuple[Numbers, State]:
        """This step takes the eta and mu that the last one has left."""
        t += 1
        lr, lambd = number(group["lr"]), group["lambd"]
        numbers = (eta, 1 - lambd * eta, mu, mu == 1)
        eta, mu = lr / (1 + lambd * lr * t) ** group["alpha"], 1 / max(1.0, t - group["t0"])
        return numbers, {"step": t, "eta": eta, "mu": mu}
