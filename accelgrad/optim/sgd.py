"""SGD: gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.kernels import updates
from accelgrad.optim.elementwise import Elementwise, Numbers
from accelgrad.optim.optimizer import Group, check_positive, number, refuse, zeros_like

__all__ = ["SGD"]


class SGD(Elementwise):
    """Stochastic gradient descent, with momentum if ``momentum`` is not 0.

    One step on a parameter x::

        g = grad + weight_decay x
        b = momentum b + (1 - dampening) g          (b = g in the first step)
        x = x - lr (g + momentum b)                 with ``nesterov``
        x = x - lr b                                without

    Sutskever et al. 2013, in PyTorch's form, where the present lr multiplies the whole momentum.
    ``maximize`` goes uphill instead.  ValueError for a negative setting, and for ``nesterov`` with dampening
    or without momentum.

    >>> import accelgrad
    >>> x = accelgrad.nn.Parameter(accelgrad.tensor([1.0, -1.0]))
    >>> optimizer = SGD([x], lr=0.1, momentum=0.9)
    >>> for _ in range(2):
    ...     x.grad = accelgrad.tensor([2.0, -0.5])
    ...     optimizer.step()
    >>> x.detach()
    tensor([ 0.4200, -0.8550])
    """

    formula = staticmethod(updates.sgd)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_positive(lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        refuse("SGD", differentiable)
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize, "foreach": foreach, "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)

    def update(self, group: Group) -> None:
        """Make one step on all parameters of the group.

        The state holds nothing but the momentum, and not even that without ``momentum``: there is no count of
        steps, and a parameter whose state has no momentum is in its first step.
        """
        lr, momentum, nesterov = number(group["lr"]), group["momentum"], group["nesterov"]
        fresh = 1.0 - group["dampening"]
        for xp, params in self.active(group):
            if not momentum:
                self.apply(xp, params, [None], (lr, 0.0, 0.0, 0.0, 0.0), group)
                continue
            buffers: list[Any] = []
            numbers: list[Numbers] = []
            for one in params:
                state = self.state[one]
                buffer = state.get("momentum_buffer")
                if buffer is None:
                    buffer = state["momentum_buffer"] = zeros_like(one)
                    numbers.append((lr, momentum, 0.0, 1.0, nesterov))
                else:
                    numbers.append((lr, momentum, momentum, fresh, nesterov))
                buffers.append(buffer.array)
            alike = numbers.count(numbers[0]) == len(numbers)
            self.apply(xp, params, [buffers], numbers[0] if alike else numbers, group)
