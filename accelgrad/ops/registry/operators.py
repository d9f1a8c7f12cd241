"""Python's operators on Tensors: ``x + y``, ``2 + x`` and ``x += y`` as calls of a primitive."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from accelgrad.arrays import backend
from accelgrad.core import graph
from accelgrad.core.inplace import assign
from accelgrad.core.primitive import Primitive
from accelgrad.core.promotion import refuse_two_devices
from accelgrad.core.tensor import Tensor
from accelgrad.ops.registry.autocast import choosing

__all__ = ["in_place", "operator"]

_OPERANDS = (Tensor, bool, int, float, np.generic)


def operator(name: str, primitive: type[Primitive]) -> Callable[..., Any]:
    """Return the method for the operator ``name`` of two operands ("__add__", "__radd__", "__iadd__" ...).

    It is the short way from an operator to its primitive: an operator has no keywords to look at.  For
    something that cannot be an operand it returns NotImplemented, so that Python asks the other operand.
    """
    short = name.strip("_")
    if name.startswith("__i"):
        method = in_place(_binary(primitive), short)
    else:
        reflected = name.startswith("__r") and name != "__rshift__"
        method = choosing(_binary(primitive, reflected), short)
    method.__name__ = name
    # NotImplemented is for Python; what users get is a Tensor.
    method.__annotations__["return"] = "Tensor"
    first_line = (primitive.__doc__ or "").splitlines()[0]
    method.__doc__ = f"The operator of :class:`{primitive.__name__}`: {first_line}"
    return method


def in_place(function: Callable[..., Any], name: str) -> Callable[..., Tensor]:
    """Return the method ``x.name_(...)``, which computes the operation and writes its result into ``x``.

    Every change in place goes this way, by a method or by an augmented operator such as ``+=``.
    """

    @functools.wraps(function)
    def changing(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        # Nodes younger than this are the operation's own: what they save of the old value is copied first.
        since = graph.now()
        value = function(self, *args, **kwargs)
        return value if value is NotImplemented else assign(self, value, since)

    changing.__name__ = f"{name}_"
    changing.__doc__ = f"Change the tensor in place by :func:`accelgrad.{name}`, and return it."
    return changing


def _binary(primitive: type[Primitive], reflected: bool = False) -> Callable[[Tensor, Any], Any]:
    """Return ``primitive`` as a method of two operands; ``reflected`` exchanges them, as in ``2 - x``."""
    apply, name = primitive.apply, primitive.__name__.lower()

    def refused(self: Tensor, other: Any) -> Any:
        """Raise the error again if ``other`` can be an operand, else return NotImplemented."""
        if isinstance(other, _OPERANDS) or backend.is_array(other):
            refuse_two_devices(name, (self, other))
            raise
        return NotImplemented

    def forwards(self: Tensor, other: Any) -> Any:
        if other is None:
            return NotImplemented
        try:
            return apply(self, other)
        except TypeError:
            return refused(self, other)

    def backwards(self: Tensor, other: Any) -> Any:
        if other is None:
            return NotImplemented
        try:
            return apply(other, self)
        except TypeError:
            return refused(self, other)

    return backwards if reflected else forwards
