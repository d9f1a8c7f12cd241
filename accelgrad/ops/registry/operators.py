"""What stands behind Python's operators: ``x + y``, ``2 + x`` and ``x += y`` of a primitive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from accelgrad.arrays import backend
from accelgrad.core.inplace import assign
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.registry.autocast import choosing
from accelgrad.ops.registry.entry import refuse_two_devices

__all__ = ["hang_operators", "operator", "operator_in_place"]

_OPERANDS = (Tensor, bool, int, float, np.generic)


def operator(primitive: type[Primitive], exchanged: bool = False) -> Callable[[Tensor, Any], Any]:
    """The method behind ``x + y``: NotImplemented for what is no operand, so that Python can ask the other
    side."""
    apply, name = primitive.apply, primitive.__name__.lower()

    def refused(self: Tensor, other: Any) -> Any:
        if isinstance(other, _OPERANDS) or backend.is_array(other):
            refuse_two_devices(name, (self, other))
            raise
        return NotImplemented

    def forwards(self: Tensor, other: Any) -> Any:
        try:
            return apply(self, other)
        except TypeError:
            return refused(self, other)

    def backwards(self: Tensor, other: Any) -> Any:
        try:
            return apply(other, self)
        except TypeError:
            return refused(self, other)

    return backwards if exchanged else forwards


def operator_in_place(primitive: type[Primitive]) -> Callable[[Tensor, Any], Tensor]:
    """The method behind ``x += y``."""

    def changing(self: Tensor, other: Any) -> Tensor:
        return assign(self, primitive.apply(self, other))

    return changing


def hang_operators(**primitives: type[Primitive]) -> None:
    """``add=Add`` gives Tensor ``__add__``, ``__radd__`` and ``__iadd__``."""
    for name, primitive in primitives.items():
        for method, function in (
            (f"__{name}__", choosing(operator(primitive), name)),
            (f"__r{name}__", choosing(operator(primitive, exchanged=True), f"r{name}")),
            (f"__i{name}__", operator_in_place(primitive)),
        ):
            function.__name__ = method
            function.__doc__ = (
                f"The operator of :class:`{primitive.__name__}`: {(primitive.__doc__ or '').splitlines()[0]}"
            )
            setattr(Tensor, method, function)
