"""Optimizers with a step length for every element: RMSprop, Adagrad, Adadelta, Adamax, NAdam, RAdam."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.kernels import updates
from accelgrad.optim.elementwise import Elementwise, Numbers
from accelgrad.optim.optimizer import Group, State, check_betas, check_positive, full_like, number, refuse

__all__ = ["Adadelta", "Adagrad", "Adamax", "NAdam", "RAdam", "RMSprop"]


class RMSprop(Elementwise):
    """RMSprop::

        v = alpha v + (1 - alpha) g²
        x = x - lr g / (sqrt(v) + eps)

    ``centered`` subtracts the square of the running mean of g from v (Graves 2013); ``momentum`` accumulates
    the steps. Hinton, Neural Networks for Machine Learning, lecture 6e.
    """

    formula = staticmethod(updates.rmsprop)

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

    def kept(self, group: Group) -> tuple[str | None, ...]:
        """v, the mean of g, and the momentum."""
        mean = "grad_avg" if group["centered"] else None
        return "square_avg", mean, "momentum_buffer" if group["momentum"] > 0 else None

    def numbers(self, group: Group, t: float) -> tuple[Numbers, State]:
        """1 - alpha among them."""
        alpha = group["alpha"]
        return (number(group["lr"]), alpha, 1 - alpha, group["eps"], group["momentum"]), {"step": t + 1}


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


class Adadelta(Elementwise):
    """Adadelta::

        v = rho v + (1 - rho) g²
        d = sqrt(u + eps) / sqrt(v + eps)  g
        u = rho u + (1 - rho) d²
        x = x - lr d

    Zeiler 2012, Algorithm 1.
    """

    formula = staticmethod(updates.adadelta)

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

    def kept(self, group: Group) -> tuple[str | None, ...]:
        """v and u."""
        return "square_avg", "acc_delta"

    def numbers(self, group: Group, t: float) -> tuple[Numbers, State]:
        """1 - rho among them."""
        rho = group["rho"]
        return (number(group["lr"]), rho, 1 - rho, group["eps"]), {"step": t + 1}


class Adamax(Elementwise):
    """Adamax::

        m = beta1 m + (1 - beta1) g
        u = max(beta2 u, |g| + eps)
        x = x - lr / (1 - beta1^t)  m / u

    Kingma & Ba 2015, Algorithm 2.
    """

    formula = staticmethod(updates.adamax)

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

    def kept(self, group: Group) -> tuple[str | None, ...]:
        """m and u."""
        return "exp_avg", "exp_inf"

    def numbers(self, group: Group, t: float) -> tuple[Numbers, State]:
        """The correction of m is in the rate."""
        t += 1
        beta1, beta2 = map(number, group["betas"])
        return (1 - beta1, beta2, group["eps"], number(group["lr"]) / (1 - beta1**t)), {"step": t}


class NAdam(Elementwise):
    """Adam with Nesterov's momentum; the momentum itself grows from step to step.  Dozat 2016, Algorithm
    2.
    """

    scalars = ("step", "mu_product")

    formula = staticmethod(updates.nadam)

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
        """The product of all mu so far begins at 1."""
        return {"mu_product": 1.0, **super().start(parameter, group)}

    def kept(self, group: Group) -> tuple[str | None, ...]:
        """m and v."""
        return "exp_avg", "exp_avg_sq"

    def numbers(self, group: Group, t: float, mu_product: float) -> tuple[Numbers, State]:
        """The momentum of this step and of the next one are in the rates of g and of m."""
        t += 1
        (beta1, beta2), lr, psi = map(number, group["betas"]), number(group["lr"]), group["momentum_decay"]
        mu = beta1 * (1 - 0.5 * 0.96 ** (t * psi))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * psi))
        mu_product *= mu
        rate_g, rate_m = lr * (1 - mu) / (1 - mu_product), lr * mu_next / (1 - mu_product * mu_next)
        numbers = (1 - beta1, beta2, 1 - beta2, 1 - beta2**t, group["eps"], rate_g, rate_m)
        return numbers, {"step": t, "mu_product": mu_product}


class RAdam(Elementwise):
    """Adam that waits with its scaling until the variance can be trusted.  Liu et al. 2020, Algorithm 2."""

    formula = staticmethod(updates.radam)

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

    def kept(self, group: Group) -> tuple[str | None, ...]:
        """m and v."""
        return "exp_avg", "exp_avg_sq"

    def numbers(self, group: Group, t: float) -> tuple[Numbers, State]:
        """``rectified`` is 0 until the average covers so many steps that its variance can be trusted."""
        t += 1
        beta1, beta2 = map(number, group["betas"])
        # The length of the simple moving average that this one amounts to.
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        rectified = 0.0
        if rho > 5:
            r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            rectified = r * math.sqrt(1 - beta2**t)
        numbers = (number(group["lr"]), 1 - beta1, beta2, 1 - beta2, 1 - beta1**t, rectified, group["eps"])
        return numbers, {"step": t}
