"""A weight that a hook computes anew before each forward: the base of the older norms of weights."""

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
        """The weight from what is learned."""
        raise NotImplementedError

    def __call__(self, module: Any, inputs: Any) -> None:
        setattr(module, self.name, self.compute(module))

    def attach(self, module: Any, kind: str) -> None:
        """Refuse a second one of the kind and what cannot be normalised, then hang the hook on the module."""
        if find_hook(module, type(self), self.name) is not None:
            raise RuntimeError(f"Cannot register two {kind} hooks on the same parameter {self.name}")
        if isinstance(getattr(module, self.name), UninitializedParameter):
            raise ValueError(
                f"The module passed to `{type(self).__name__}` can't have uninitialized parameters. Make sure"
                " to run the dummy forward before applying it"
            )
        self.handle = module.register_forward_pre_hook(self)


def find_hook(module: Any, kind: type, name: str) -> Any:
    for hook in module._forward_pre_hooks.values():
        function: Any = hook.function
        if isinstance(function, kind) and getattr(function, "name", None) == name:
            return function
    return None
