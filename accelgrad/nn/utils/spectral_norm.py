"""The older spectral_norm, which computes the weight in a hook before each forward."""

from __future__ import annotations

from typing import Any

from accelgrad.core.modes import no_grad
from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn.modules.module import Module
from accelgrad.nn.parameter import Parameter
from accelgrad.nn.utils.parametrizations import as_matrix, check_iterations, output_dim
from accelgrad.nn.utils.recomputed import Recomputed, find_hook

__all__ = ["SpectralNorm", "remove_spectral_norm", "spectral_norm"]


class SpectralNorm(Recomputed):
    """``weight = weight_orig / (u' W v)`` with the buffers ``weight_u`` and ``weight_v``."""

    def __init__(self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12):
        check_iterations(n_power_iterations)
        self.name, self.n_power_iterations, self.dim, self.eps = name, n_power_iterations, dim, eps

    def compute(self, module: Any) -> Tensor:
        """The weight, from the original one; in training mode after some steps of the power method."""
        return self.divided(module, module.training)

    def divided(self, module: Any, improve: bool) -> Tensor:
        """The original weight divided by its largest singular value, which ``improve`` estimates better."""
        weight, u, v = (getattr(module, f"{self.name}_{part}") for part in ("orig", "u", "v"))
        matrix = as_matrix(weight, self.dim)
        if improve:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(F.normalize(u @ matrix, dim=0, eps=self.eps))
                    u.copy_(F.normalize(matrix @ v, dim=0, eps=self.eps))
        # Copies: the next forward improves u and v in place, and backward still needs those of this one.
        return weight / (u.clone() @ (matrix @ v.clone()))


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a parameter by its largest singular value before each forward.  Miyato et al. 2018.

    The parameter becomes ``weight_orig``; ``weight_u`` and ``weight_v`` are buffers.  Arguments as for
    :func:`accelgrad.nn.utils.parametrizations.spectral_norm`, the newer form.  RuntimeError for a second one
    on a weight, ValueError for a parameter that is None or has no shape.

    >>> from accelgrad import nn
    >>> layer = spectral_norm(nn.Linear(3, 5))
    >>> list(layer.state_dict())
    ['bias', 'weight_orig', 'weight_u', 'weight_v']
    """
    weight = module._parameters[name]
    if weight is None:
        raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
    hook = SpectralNorm(name, n_power_iterations, output_dim(module) if dim is None else dim, eps)
    hook.attach(module, "spectral_norm")
    with no_grad():
        height, width = as_matrix(weight.detach(), hook.dim).shape
        u, v = (
            F.normalize(weight.detach().new_empty(size).normal_(0, 1), dim=0, eps=eps)
            for size in (height, width)
        )
    delattr(module, name)
    module.register_parameter(f"{name}_orig", weight)
    setattr(module, name, weight.detach())
    module.register_buffer(f"{name}_u", u)
    module.register_buffer(f"{name}_v", v)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Make the weight an ordinary parameter again; ValueError where :func:`spectral_norm` was not applied.

    >>> from accelgrad import nn
    >>> layer = remove_spectral_norm(spectral_norm(nn.Linear(3, 5)))
    >>> list(layer.state_dict())
    ['bias', 'weight']
    """
    hook = find_hook(module, SpectralNorm, name)
    if hook is None:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    with no_grad():
        weight = hook.divided(module, improve=False)
    hook.handle.remove()
    for key in (name, f"{name}_u", f"{name}_v", f"{name}_orig"):
        delattr(module, key)
    module.register_parameter(name, Parameter(weight.detach()))
    return module
