"""Older ways down: ASGD, which averages where it has been, and Rprop, which looks at the gradient's sign
only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.kernels import updates
from accelgrad.optim.elementwise import Elementwise, Numbers
from accelgrad.optim.optimizer import Group, State, check_positive, full_like, number, refuse

__all__ = ["ASGD", "Rprop"]


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


class Rprop(Elementwise):
    """Resilient backpropagation: every element has its own step length, which grows while the sign of its
    gradient stays.

    ``etas``: the factors after a change of sign and without one; ``step_sizes``: the bounds.  For full
    batches. Riedmiller & Braun 1993.
    """

    formula = staticmethod(updates.rprop)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_positive(lr=lr)
        if not 0 < etas[0] < 1 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        refuse("Rprop", differentiable)
        defaults = {
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def start(self, parameter: Tensor, group: Group) -> State:
        """Every element begins with steps of length lr."""
        return super().start(parameter, group) | {"step_size": full_like(parameter, number(group["lr"]))}

    def kept(self, group: Group) -> tuple[str | None, ...]:
        """The last gradient, and the length of the step."""
        return "prev", "step_size"

    def numbers(self, group: Group, t: float) -> tuple[Numbers, State]:
        """The factors and the bounds."""
        return (*group["etas"], *group["step_sizes"], 0.0), {"step": t + 1}
