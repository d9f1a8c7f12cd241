"""Older ways down: ASGD, which averages where it has been, and Rprop, which looks at the gradient's sign
only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accelgrad.optim.optimizer import Group, Optimizer, State, check_positive, number, refuse, zeros_like
from accelgrad.tensor import Tensor, wrap

__all__ = ["ASGD", "Rprop"]


class ASGD(Optimizer):
    """Averaged stochastic gradient descent: the average of the path is kept in ``state[x]["ax"]`` from step
    ``t0`` on.

    Polyak & Juditsky 1992.
    """

    scalars = ("step", "eta", "mu")

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
        """The state before the first step."""
        return {"step": 0.0, "eta": number(group["lr"]), "mu": 1.0, "ax": zeros_like(parameter)}

    def update_parameter(self, xp: Any, x: Any, grad: Any, state: State, group: Group) -> None:
        """One step on one raw array."""
        lr, lambd = number(group["lr"]), group["lambd"]
        state["step"] += 1
        t, eta, average = state["step"], state["eta"], state["ax"].array
        g = -grad if group["maximize"] else grad
        if group["weight_decay"]:
            g = g + group["weight_decay"] * x
        x *= 1 - lambd * eta
        x -= eta * g
        if state["mu"] == 1:
            average[...] = x
        else:
            average += state["mu"] * (x - average)
        state["eta"] = lr / (1 + lambd * lr * t) ** group["alpha"]
        state["mu"] = 1 / max(1.0, t - group["t0"])


class Rprop(Optimizer):
    """Resilient backpropagation: every element has its own step length, which grows while the sign of its
    gradient stays.

    ``etas``: the factors after a change of sign and without one; ``step_sizes``: the bounds.  For full
    batches. Riedmiller & Braun 1993.
    """

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
        """The state before the first step."""
        sizes = parameter.xp.zeros_like(parameter.array)
        sizes += number(group["lr"])
        return {"step": 0.0, "prev": zeros_like(parameter), "step_size": wrap(sizes, parameter.xp)}

    def update_parameter(self, xp: Any, x: Any, grad: Any, state: State, group: Group) -> None:
        """One step on one raw array."""
        (shrink, grow), (smallest, largest) = group["etas"], group["step_sizes"]
        g = -grad if group["maximize"] else grad
        state["step"] += 1
        previous, size = state["prev"].array, state["step_size"].array
        agreement = g * previous
        size[...] = xp.clip(
            size * xp.where(agreement > 0, grow, xp.where(agreement < 0, shrink, 1.0)), smallest, largest
        )
        g = xp.where(agreement < 0, 0.0, g)  # after a change of sign: stay, and forget the gradient
        x -= size * xp.sign(g)
        previous[...] = g
