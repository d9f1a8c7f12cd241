"""Optimizers with a step length for every element: RMSprop, Adagrad, Adadelta, Adamax, NAdam, RAdam."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from accelgrad.optim.optimizer import (
    Group,
    Optimizer,
    State,
    check_betas,
    check_positive,
    number,
    refuse,
    zeros_like,
)
from accelgrad.tensor import Tensor, wrap

__all__ = ["Adadelta", "Adagrad", "Adamax", "NAdam", "RAdam", "RMSprop"]


def _directed(x: Any, grad: Any, group: Group) -> Any:
    """The gradient to descend along: turned round by ``maximize``, with weight decay added."""
    if group["maximize"]:
        grad = -grad
    if group["weight_decay"] and not group.get("decoupled_weight_decay", False):
        grad = grad + group["weight_decay"] * x
    return grad


class RMSprop(Optimizer):
    """RMSprop::

        v = alpha v + (1 - alpha) g²
        x = x - lr g / (sqrt(v) + eps)

    ``centered`` subtracts the square of the running mean of g from v (Graves 2013); ``momentum`` accumulates
    the steps. Hinton, Neural Networks for Machine Learning, lecture 6e.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_positive(lr=lr, eps=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        refuse("RMSprop", differentiable)
        defaults = {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def start(self, parameter: Tensor, group: Group) -> State:
        """The state before the first step."""
        state: State = {"step": 0.0, "square_avg": zeros_like(parameter)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = zeros_like(parameter)
        if group["centered"]:
            state["grad_avg"] = zeros_like(parameter)
        return state

    def update_parameter(self, xp: Any, x: Any, grad: Any, state: State, group: Group) -> None:
        """One step on one raw array."""
        g, alpha = _directed(x, grad, group), group["alpha"]
        state["step"] += 1
        v = state["square_avg"].array
        v *= alpha
        v += (1 - alpha) * (g * g)
        if group["centered"]:
            mean = state["grad_avg"].array
            mean += (1 - alpha) * (g - mean)
            root = xp.sqrt(v - mean * mean)
        else:
            root = xp.sqrt(v)
        direction = g / (root + group["eps"])
        if group["momentum"] > 0:
            buffer = state["momentum_buffer"].array
            buffer *= group["momentum"]
            buffer += direction
            direction = buffer
        x -= number(group["lr"]) * direction


class Adagrad(Optimizer):
    """Adagrad::

        s = s + g²
        x = x - lr / (1 + (t - 1) lr_decay)  g / (sqrt(s) + eps)

    Duchi, Hazan & Singer 2011.
    """

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
            total = one.xp.zeros_like(one.array) + one.array.dtype.type(group["initial_accumulator_value"])
            self.state[one] = {"step": 0.0, "sum": wrap(one.xp.asarray(total), one.xp)}

    def update_parameter(self, xp: Any, x: Any, grad: Any, state: State, group: Group) -> None:
        """One step on one raw array."""
        g = _directed(x, grad, group)
        state["step"] += 1
        rate = number(group["lr"]) / (1 + (state["step"] - 1) * group["lr_decay"])
        total = state["sum"].array
        total += g * g
        x -= rate * (g / (xp.sqrt(total) + group["eps"]))


class Adadelta(Optimizer):
    """Adadelta::

        v = rho v + (1 - rho) g²
        d = sqrt(u + eps) / sqrt(v + eps)  g
        u = rho u + (1 - rho) d²
        x = x - lr d

    Zeiler 2012, Algorithm 1.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_positive(lr=lr, eps=eps, weight_decay=weight_decay)
        if not 0 <= rho <= 1:
            raise ValueError(f"Invalid rho value: {rho}")
        refuse("Adadelta", differentiable)
        defaults = {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def start(self, parameter: Tensor, group: Group) -> State:
        """The state before the first step."""
        return {"step": 0.0, "square_avg": zeros_like(parameter), "acc_delta": zeros_like(parameter)}

    def update_parameter(self, xp: Any, x: Any, grad: Any, state: State, group: Group) -> None:
        """One step on one raw array."""
        g, rho, eps = _directed(x, grad, group), group["rho"], group["eps"]
        state["step"] += 1
        v, u = state["square_avg"].array, state["acc_delta"].array
        v *= rho
        v += (1 - rho) * (g * g)
        d = xp.sqrt(u + eps) / xp.sqrt(v + eps) * g
        u *= rho
        u += (1 - rho) * (d * d)
        x -= number(group["lr"]) * d


class Adamax(Optimizer):
    """Adamax::

        m = beta1 m + (1 - beta1) g
        u = max(beta2 u, |g| + eps)
        x = x - lr / (1 - beta1^t)  m / u

    Kingma & Ba 2015, Algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_positive(lr=lr, eps=eps, weight_decay=weight_decay)
        check_betas(betas)
        refuse("Adamax", differentiable)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def start(self, parameter: Tensor, group: Group) -> State:
        """The state before the first step."""
        return {"step": 0.0, "exp_avg": zeros_like(parameter), "exp_inf": zeros_like(parameter)}

    def update_parameter(self, xp: Any, x: Any, grad: Any, state: State, group: Group) -> None:
        """One step on one raw array."""
        g, (beta1, beta2) = _directed(x, grad, group), group["betas"]
        state["step"] += 1
        m, u = state["exp_avg"].array, state["exp_inf"].array
        m += (1 - beta1) * (g - m)
        u[...] = xp.maximum(beta2 * u, xp.abs(g) + group["eps"])
        x -= number(group["lr"]) / (1 - beta1 ** state["step"]) * (m / u)


class _Moments(Optimizer):
    """What NAdam and RAdam share with Adam: running averages of the gradient and its square."""

    def start(self, parameter: Tensor, group: Group) -> State:
        """The state before the first step."""
        return {"step": 0.0, "exp_avg": zeros_like(parameter), "exp_avg_sq": zeros_like(parameter)}

    def _moments(self, x: Any, grad: Any, state: State, group: Group) -> tuple[Any, Any, Any]:
        """The gradient and both averages, brought up to date; decoupled weight decay happens here too."""
        g, (beta1, beta2) = _directed(x, grad, group), group["betas"]
        if group["weight_decay"] and group["decoupled_weight_decay"]:
            x *= 1 - number(group["lr"]) * group["weight_decay"]
        state["step"] += 1
        m, v = state["exp_avg"].array, state["exp_avg_sq"].array
        m += (1 - beta1) * (g - m)
        v *= beta2
        v += (1 - beta2) * (g * g)
        return g, m, v


class NAdam(_Moments):
    """Adam with Nesterov's momentum; the momentum itself grows from step to step.  Dozat 2016, Algorithm
    2.
    """

    scalars = ("step", "mu_product")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_positive(lr=lr, eps=eps, weight_decay=weight_decay, momentum_decay=momentum_decay)
        check_betas(betas)
        refuse("NAdam", differentiable)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def start(self, parameter: Tensor, group: Group) -> State:
        """The state before the first step."""
        return {"mu_product": 1.0, **super().start(parameter, group)}

    def update_parameter(self, xp: Any, x: Any, grad: Any, state: State, group: Group) -> None:
        """One step on one raw array."""
        g, m, v = self._moments(x, grad, state, group)
        (beta1, beta2), lr, psi, t = (
            group["betas"],
            number(group["lr"]),
            group["momentum_decay"],
            state["step"],
        )
        mu = beta1 * (1 - 0.5 * 0.96 ** (t * psi))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * psi))
        state["mu_product"] *= mu
        product = state["mu_product"]
        denominator = xp.sqrt(v / (1 - beta2**t)) + group["eps"]
        x -= lr * (1 - mu) / (1 - product) * (g / denominator)
        x -= lr * mu_next / (1 - product * mu_next) * (m / denominator)


class RAdam(_Moments):
    """Adam that waits with its scaling until the variance can be trusted.  Liu et al. 2020, Algorithm 2."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_positive(lr=lr, eps=eps, weight_decay=weight_decay)
        check_betas(betas)
        refuse("RAdam", differentiable)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable, "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def update_parameter(self, xp: Any, x: Any, grad: Any, state: State, group: Group) -> None:
        """One step on one raw array."""
        _, m, v = self._moments(x, grad, state, group)
        (beta1, beta2), lr, t = group["betas"], number(group["lr"]), state["step"]
        direction = m / (1 - beta1**t)
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * t * beta2**t / (
            1 - beta2**t
        )  # length of the simple moving average this amounts to
        if rho > 5:
            r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            direction = direction * (r * math.sqrt(1 - beta2**t)) / (xp.sqrt(v) + group["eps"])
        x -= lr * direction
