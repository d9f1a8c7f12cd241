"""The older weight_norm and spectral_norm, which compute the weight in a hook before each forward."""

from __future__ import annotations

import warnings
from typing import Any

from accelgrad.core.graph import no_grad
from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn.modules.module import Module
from accelgrad.nn.parameter import Parameter, UninitializedParameter
from accelgrad.nn.utils.parametrizations import as_matrix, check_iterations, norm_except_dim, output_dim

__all__ = [
    "SpectralNorm",
    "WeightNorm",
    "remove_spectral_norm",
    "remove_weight_norm",
    "spectral_norm",
    "weight_norm",
]


class _Recomputed:
    """A hook before forward that sets the attribute ``name`` of its module."""

    name: str
    handle: Any

    def compute(self, module: Any) -> Tensor:
        """The weight from what is learned."""
        raise NotImplementedError

    def __call__(self, module: Any, inputs: Any) -> None:
        setattr(module, self.name, self.compute(module))

    def attach(self, module: Any, kind: str) -> None:
        """Refuse a second one of the kind and what cannot be normalised, then hang the hook on the module."""
        if _find(module, type(self), self.name) is not None:
            raise RuntimeError(f"Cannot register two {kind} hooks on the same parameter {self.name}")
        if isinstance(getattr(module, self.name), UninitializedParameter):
            raise ValueError(
                f"The module passed to `{type(self).__name__}` can't have uninitialized parameters. Make sure"
                " to run the dummy forward before applying it"
            )
        self.handle = module.register_forward_pre_hook(self)


def _find(module: Any, kind: type, name: str) -> Any:
    for hook in module._forward_pre_hooks.values():
        function: Any = hook.function
        if isinstance(function, kind) and getattr(function, "name", None) == name:
            return function
    return None


class WeightNorm(_Recomputed):
    """``weight = weight_g weight_v / |weight_v|``."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name, self.dim = name, -1 if dim is None else dim

    def compute(self, module: Any) -> Tensor:
        """The weight from length and direction."""
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        return v * (g / norm_except_dim(v, self.dim))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Replace a parameter by ``weight_g`` and ``weight_v``.  Salimans & Kingma 2016.

    Deprecated, as in PyTorch: :func:`accelgrad.nn.utils.parametrizations.weight_norm` does the same and loads
    the state dicts of this one.

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
    """Make the weight an ordinary parameter again; ValueError where :func:`weight_norm` was not applied."""
    hook = _find(module, WeightNorm, name)
    if hook is None:
        raise ValueError(f"weight_norm of '{name}' not found in {module}")
    weight = hook.compute(module).detach()
    hook.handle.remove()
    for key in (name, f"{name}_g", f"{name}_v"):
        delattr(module, key)
    module.register_parameter(name, Parameter(weight))
    return module


class SpectralNorm(_Recomputed):
    """``weight = weight_orig / (u' W v)`` with the buffers ``weight_u`` and ``weight_v``."""

    def __init__(self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12):
        check_iterations(n_power_iterations)
        self.name, self.n_power_iterations, self.dim, self.eps = name, n_power_iterations, dim, eps

    def compute(self, module: Any) -> Tensor:
        """The weight from the original one; in training mode after some steps of the power method."""
        return self.divided(module, module.training)

    def divided(self, module: Any, improve: bool) -> Tensor:
        """The original weight by its largest singular value."""
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

    The parameter becomes ``weight_orig``; ``weight_u`` and ``weight_v`` are buffers.
    :func:`accelgrad.nn.utils.parametrizations.spectral_norm` is the newer form.

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
    """Make the weight an ordinary parameter again; ValueError where :func:`spectral_norm` was not applied."""
    hook = _find(module, SpectralNorm, name)
    if hook is None:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    with no_grad():
        weight = hook.divided(module, improve=False)
    hook.handle.remove()
    for key in (name, f"{name}_u", f"{name}_v", f"{name}_orig"):
        delattr(module, key)
    module.register_parameter(name, Parameter(weight.detach()))
    return module
