"""Rprop: a step length for each element, which follows the sign of its gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.kernels import updates
from accelgrad.optim.elementwise import Elementwise, Numbers
from accelgrad.optim.optimizer import Group, State, check_positive, full_like, number, refuse

__all__ = ["Rprop"]


class Rprop(Elementwise):
    """Rprop: a step length for each element, which grows while the sign of its gradient stays the same.

    One step on an element x, with (shrink, grow) = ``etas`` and (shortest, longest) = ``step_sizes``::

        length = length grow                        if g has the sign of the last g
        length = length shrink, and g = 0           if it has the opposite sign
        length = min(max(length, shortest), longest)
        x = x - length sign(g)

    Resilient backpropagation, for full batches: Riedmiller & Braun 1993, in the form that does not take back
    a step after a change of sign (iRprop-, Igel & Hüsken 2003).  The first length is lr.  ValueError for a
    negative lr, and unless 0 < shrink < 1 < grow.

    >>> import accelgrad
    >>> x = accelgrad.nn.Parameter(accelgrad.tensor([1.0, -1.0]))
    >>> optimizer = Rprop([x], lr=0.1)
    >>> for _ in range(2):
    ...     x.grad = accelgrad.tensor([2.0, -0.5])
    ...     optimizer.step()
    >>> x.detach()
    tensor([ 0.7800, -0.7800])
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
        """The last gradient, and the lengths of the steps."""
        return "prev", "step_size"

    def numbers(self, group: Group, t: float) -> tuple[Numbers, State]:
        return (*group["etas"], *group["step_sizes"], 0.0), {"step": t + 1}
