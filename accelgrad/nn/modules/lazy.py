"""LazyModuleMixin: layers that take their input's size from the first input."""

from __future__ import annotations

from typing import Any

from accelgrad.nn.modules.module import Module
from accelgrad.nn.parameter import UninitializedBuffer, UninitializedParameter

__all__ = ["LazyModuleMixin"]


class LazyModuleMixin(Module):
    """Mixed into a layer whose parameters get their shape from the first input, or from a checkpoint.

    The lazy layer registers :class:`UninitializedParameter`, and gives them a shape in
    ``initialize_parameters``, which is called with the first forward's arguments.  Afterwards the module is
    an ordinary one, of the class ``cls_to_become``.

    >>> import accelgrad
    >>> from accelgrad import nn
    >>> class LazyScale(LazyModuleMixin, nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.scale = nn.UninitializedParameter()
    ...     def initialize_parameters(self, x):
    ...         self.scale.materialize(x.shape[-1:])
    ...         nn.init.ones_(self.scale)
    ...     def forward(self, x):
    ...         return x * self.scale
    >>> layer = LazyScale()
    >>> layer(accelgrad.zeros(2, 3)).shape, layer.scale.shape
    (accelgrad.Size([2, 3]), accelgrad.Size([3]))
    """

    cls_to_become: type[Module] | None = None

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
        """Give the parameters their shape; every lazy layer overrides this."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")


def _initialize(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """The hook before the first forward: shapes for the parameters, the ordinary class for the module."""
    module.initialize_parameters(*args, **kwargs)
    module._first_call.remove()
    del module._first_call
    if module.cls_to_become is not None:
        module.__class__ = module.cls_to_become
