"""Named tuples of several results, printed as PyTorch prints them."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

__all__ = ["named"]

_made: dict[str, Any] = {}


def named(operation: str, *fields: str) -> Any:
    """Make a tuple type whose fields have names: ``accelgrad.return_types.max(values=..., indices=...)``.

    >>> named("example", "values", "indices")([3.0], [1]).values
    [3.0]
    """
    base = namedtuple(operation, fields)  # type: ignore[misc]  # the names are known at run time only

    def __repr__(self: Any) -> str:
        parts = ",\n".join(f"{field}={value!r}" for field, value in zip(fields, self, strict=True))
        return f"accelgrad.return_types.{operation}(\n{parts})"

    made = _made[operation] = type(
        operation, (base,), {"__repr__": __repr__, "__slots__": (), "__module__": __name__}
    )
    return made


def __getattr__(name: str) -> Any:
    """Return the tuple type of an operation by name, so that results can be pickled."""
    if name in _made:
        return _made[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
