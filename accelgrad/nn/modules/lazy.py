"""LazyModule: layers that take their input's size from the first input."""

from __future__ import annotations

from typing import Any

from accelgrad.nn.modules.module import Module
from accelgrad.nn.parameter import UninitializedBuffer, UninitializedParameter

__all__ = ["LazyModule"]


class LazyModule(Module):
    """Mixed into a layer: its parameters get their shape in ``initialize_parameters``, before the first
    forward (or from a checkpoint).

    Afterwards the module is an ordinary one, of the class ``becomes``.
    """

    becomes: type[Module] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._first_call = self.register_forward_pre_hook(_initialize, with_kwargs=True)

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or a buffer has no shape yet."""
        return any(
            isinstance(one, UninitializedParameter | UninitializedBuffer)
            for one in (*self._parameters.values(), *self._buffers.values())
        )

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give the parameters their shape; written by each lazy layer."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")


def _initialize(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    module.initialize_parameters(*args, **kwargs)
    module._first_call.remove()
    del module._first_call
    if module.becomes is not None:
        module.__class__ = module.becomes
