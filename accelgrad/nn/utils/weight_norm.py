"""The older weight_norm, which computes the weight in a hook before each forward."""

from __future__ import annotations

import warnings
from typing import Any

from accelgrad.core.modes import no_grad
from accelgrad.core.tensor import Tensor
from accelgrad.nn.modules.module import Module
from accelgrad.nn.parameter import Parameter
from accelgrad.nn.utils.parametrizations import norm_except_dim
from accelgrad.nn.utils.recomputed import Recomputed, find_hook

__all__ = ["WeightNorm", "remove_weight_norm", "weight_norm"]


class WeightNorm(Recomputed):
    """``weight = weight_g weight_v / |weight_v|``."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name, self.dim = name, -1 if dim is None else dim

    def compute(self, module: Any) -> Tensor:
        """The weight, from length and direction."""
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        return v * (g / norm_except_dim(v, self.dim))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Replace a weight by ``weight_g weight_v / |weight_v|``, length and direction.  Salimans & Kingma 2016.

    One norm for each index of ``dim``, or, for None, one for all.  Deprecated with a FutureWarning, as in
    PyTorch: :func:`accelgrad.nn.utils.parametrizations.weight_norm` does the same, and loads the state dicts
    of this one.  RuntimeError for a second one on a weight, ValueError for a weight without a shape.

    >>> import warnings
    >>> from accelgrad import nn
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     layer = weight_norm(nn.Linear(3, 5))
    >>> sorted(name for name, _ in layer.named_parameters())
    ['bias', 'weight_g', 'weight_v']
    """
    warnings.warn(
        "`nn.utils.weight_norm` is deprecated in favor of `nn.utils.parametrizations.weight_norm`.",
        FutureWarning,
        stacklevel=2,
    )
    hook = WeightNorm(name, dim)
    hook.attach(module, "weight_norm")
    weight = getattr(module, name)
    delattr(module, name)
    with no_grad():
        length = norm_except_dim(weight.detach(), hook.dim)
    module.register_parameter(f"{name}_g", Parameter(length))
    module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    setattr(module, name, hook.compute(module))
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight an ordinary parameter again; ValueError where :func:`weight_norm` was not applied.

    >>> import warnings
    >>> from accelgrad import nn
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     layer = remove_weight_norm(weight_norm(nn.Linear(3, 5)))
    >>> sorted(name for name, _ in layer.named_parameters())
    ['bias', 'weight']
    """
    hook = find_hook(module, WeightNorm, name)
    if hook is None:
        raise ValueError(f"weight_norm of '{name}' not found in {module}")
    weight = hook.compute(module).detach()
    hook.handle.remove()
    for key in (name, f"{name}_g", f"{name}_v"):
        delattr(module, key)
    module.register_parameter(name, Parameter(weight))
    return module
