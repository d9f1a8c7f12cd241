"""SGD: gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accelgrad.optim.optimizer import Group, Optimizer, check_positive, number, refuse
from accelgrad.tensor import Tensor, wrap

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent::

        g = grad + weight_decay x
        b = momentum b + (1 - dampening) g          (b = g in the first step)
        x = x - lr (g + momentum b  if nesterov  else  b)

    Sutskever et al. 2013, in PyTorch's form.  ``maximize`` climbs instead.

    >>> from accelgrad import Tensor, nn
    >>> x = nn.Parameter(Tensor([1.0]))
    >>> optimizer = SGD([x], lr=0.1)
    >>> x.grad = Tensor([2.0])
    >>> optimizer.step()
    >>> round(x.item(), 4)
    0.8
    """

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
        """All parameters of the group in one fused step."""
        momentum = group["momentum"]
        for xp, params in self.active(group):
            buffers: list[Any] | None = None
            if momentum:
                states = [self.state[one] for one in params]
                held = [state.get("momentum_buffer") for state in states]
                buffers = [None if one is None else one.array for one in held]
            xp.sgd_step(
                [one.array for one in params],
                [one._grad.array for one in params],  # type: ignore[union-attr]
                buffers,
                number(group["lr"]),
                momentum,
                group["dampening"],
                group["weight_decay"],
                group["nesterov"],
                group["maximize"],
            )
            for one in params:
                one._version[0] += 1
            if buffers is not None:
                for state, before, buffer in zip(states, held, buffers, strict=True):
                    if before is None:
                        state["momentum_buffer"] = wrap(buffer, xp)
