"""Sample inputs: how an operation's entry describes the tensors of its test calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Arg", "Sample", "arg", "sample"]


@dataclass(frozen=True)
class Arg:
    """The description of a random tensor for a test call; :func:`arg` makes it."""

    shape: tuple[int, ...]
    low: float
    high: float
    dtype: str
    distinct: bool
    requires_grad: bool
    values: Any

    def make(self, rng: np.random.Generator, dtype: str = "float64") -> np.ndarray:
        """Draw the array from ``rng``; a floating point one gets the type ``dtype``."""
        kind = dtype if self.dtype == "float" else self.dtype
        if self.values is not None:
            return np.array(self.values, dtype=kind)
        size = int(np.prod(self.shape, dtype=int))
        if kind == "bool":
            return np.asarray(rng.random(self.shape) < 0.5)
        if self.dtype != "float":
            if self.distinct:
                return rng.permutation(size).reshape(self.shape).astype(kind)
            return rng.integers(int(self.low), int(self.high), self.shape).astype(kind)
        if self.distinct:
            # Values 0.25 apart, for max, sort and others that jump where two values are equal.
            return ((rng.permutation(size) - size / 2) * 0.25 + 0.06).reshape(self.shape).astype(kind)
        return rng.uniform(self.low, self.high, self.shape).astype(kind)


def arg(
    *shape: int,
    low: float = -2.0,
    high: float = 2.0,
    dtype: str = "float",
    distinct: bool = False,
    requires_grad: bool = True,
    values: Any = None,
) -> Arg:
    """Describe a random tensor for a test call: its shape, and values drawn uniformly from [low, high).

    ``dtype`` is "float" for the floating point type under test, or the name of another type.
    ``distinct=True`` makes all values different, for operations that jump where two are equal; ``values``
    are taken as they are instead of random ones.

    >>> arg(2, 3).make(np.random.default_rng(0)).shape
    (2, 3)
    """
    return Arg(shape, low, high, dtype, distinct, requires_grad and dtype == "float", values)


@dataclass(frozen=True)
class Sample:
    """The arguments of one test call, with an :class:`Arg` for every tensor, in lists and tuples too."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    def make(
        self, rng: np.random.Generator, convert: Callable[[Arg], Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with every :class:`Arg` replaced by ``convert(arg)``."""

        def walk(value: Any) -> Any:
            """Convert every Arg in ``value``."""
            if isinstance(value, Arg):
                return convert(value)
            if isinstance(value, list | tuple):
                return type(value)(walk(part) for part in value)
            return value

        return tuple(walk(one) for one in self.args), {key: walk(one) for key, one in self.kwargs.items()}


def sample(*args: Any, **kwargs: Any) -> Sample:
    """Describe the arguments of one test call of an operation.

    >>> sample(arg(2, 3), dim=1).kwargs
    {'dim': 1}
    """
    return Sample(args, kwargs)
