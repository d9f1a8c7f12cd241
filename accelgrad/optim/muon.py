"""Muon: momentum whose matrix is made orthogonal before it becomes the step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.optim.optimizer import Group, Optimizer, State, number, zeros_like

__all__ = ["Muon"]


class Muon(Optimizer):
    """Muon: momentum whose matrix is made orthogonal before it becomes the step.

    One step on a matrix x::

        m = momentum m + (1 - momentum) grad
        u = (1 - momentum) grad + momentum m              (without ``nesterov``: u = m)
        x = x - lr weight_decay x
        x = x - r lr O(u)                                 with r = sqrt(max(1, rows / columns))

    O replaces all singular values by nearly 1, through ``ns_steps`` steps ``X = a X + (b A + c A²) X`` with
    ``A = X Xᵀ`` and ``ns_coefficients`` = (a, b, c).  ``adjust_lr_fn``: "original", the r above, or
    "match_rms_adamw", r = 0.2 sqrt(max(rows, columns)), with which rates for AdamW fit.  Jordan et al. 2024,
    "Muon: an optimizer for hidden layers in neural networks"; Liu et al. 2025, "Muon is scalable for LLM
    training".

    For the weights of hidden layers; embeddings, biases and the last layer go to AdamW.  ValueError for
    parameters that are not matrices, and for a setting outside its range.

    >>> import accelgrad
    >>> x = accelgrad.nn.Parameter(accelgrad.zeros(2, 2))
    >>> optimizer = Muon([x], lr=1.0)
    >>> x.grad = accelgrad.tensor([[100.0, 0.0], [0.0, 1.0]])
    >>> optimizer.step()                       # both directions move alike, however long the gradient is
    >>> bool((x.detach().diagonal() < -0.5).all())
    True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        for name, value in (
            ("Learning rate", number(lr)),
            ("momentum", momentum),
            ("weight decay", weight_decay),
        ):
            if not value >= 0:
                raise ValueError(f"{name} should be >= 0 but is: {value}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        if len(ns_coefficients) != 3:
            raise ValueError("Coefficients must be a tuple of exactly 3 values")
        if ns_steps >= 100:
            raise ValueError("Number of steps must be less than 100 for computational efficiency")
        defaults = {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }  # fmt: skip
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group of matrices; ValueError for parameters of other shapes."""
        super().add_param_group(param_group)
        for one in self.param_groups[-1]["params"]:
            if one.array.ndim != 2:
                raise ValueError(
                    f"Muon only supports 2D parameters whereas we found a parameter with size: {one.shape};"
                    " give it to AdamW"
                )

    def start(self, parameter: Tensor, group: Group) -> State:
        """The momentum begins at zero."""
        return {"momentum_buffer": zeros_like(parameter)}

    def update_parameter(self, xp: Any, x: Any, grad: Any, state: State, group: Group) -> None:
        lr, momentum = number(group["lr"]), group["momentum"]
        m = state["momentum_buffer"].array
        m += (1 - momentum) * (grad - m)
        u = grad + momentum * (m - grad) if group["nesterov"] else m
        step = orthogonal(xp, u, group["ns_coefficients"], group["ns_steps"], group["eps"])
        rows, columns = x.shape
        if group["adjust_lr_fn"] == "match_rms_adamw":
            ratio = 0.2 * math.sqrt(max(rows, columns))
        else:
            ratio = math.sqrt(max(1, rows / columns))
        x *= 1 - lr * group["weight_decay"]
        x -= lr * ratio * step


def orthogonal(xp: Any, u: Any, coefficients: tuple[float, float, float], steps: int, eps: float) -> Any:
    """Nearly U Vᵀ, where u = U S Vᵀ is the singular value decomposition.

    A polynomial of odd powers, applied ``steps`` times, takes all singular values towards 1 (Newton and
    Schulz' iteration, with the coefficients of Jordan et al. 2024).
    """
    a, b, c = coefficients
    tall = u.shape[0] > u.shape[1]
    X = u.T if tall else u
    X = X / xp.maximum(xp.sqrt(xp.sum(X * X)), eps)
    for _ in range(steps):
        A = xp.matmul(X, X.T)
        X = a * X + xp.matmul(b * A + c * xp.matmul(A, A), X)
    return X.T if tall else X
