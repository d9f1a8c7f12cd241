"""The base of the older weight_norm and spectral_norm: a hook computes a weight before each forward."""

from __future__ import annotations

from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.nn.parameter import UninitializedParameter

__all__ = ["Recomputed", "find_hook"]


class Recomputed:
    """A hook before forward that sets the attribute ``name`` of its module."""

    name: str
    handle: Any

    def compute(self, module: Any) -> Tensor:
        """The weight, from what is learned."""
        raise NotImplementedError

    def __call__(self, module: Any, inputs: Any) -> None:
        setattr(module, self.name, self.compute(module))

    def attach(self, module: Any, kind: str) -> None:
        """Register the hook; RuntimeError for a second one on a weight, ValueError without a shape."""
        if find_hook(module, type(self), self.name) is not None:
            raise RuntimeError(f"Cannot register two {kind} hooks on the same parameter {self.name}")
        if isinstance(getattr(module, self.name), UninitializedParameter):
            raise ValueError(
                f"The module passed to `{type(self).__name__}` can't have uninitialized parameters."
                " Make sure to run the dummy forward before applying it"
            )
        self.handle = module.register_forward_pre_hook(self)


def find_hook(module: Any, kind: type, name: str) -> Any:
    """The hook of a class on the weight ``name`` of a module; None where there is none."""
    for hook in module._forward_pre_hooks.values():
        function: Any = hook.function
        if isinstance(function, kind) and getattr(function, "name", None) == name:
            return function
    return None
