"""The registry: one entry per operation, from which its method, in-place form, export and tests come.

::

    @op(primitive=Tanh, reference=np.tanh, samples=[sample(arg(2, 3)), sample(arg())], inplace=True)
    def tanh(input: Tensor) -> Tensor:
        \"\"\"Hyperbolic tangent ...\"\"\"
        return Tanh.apply(input)

hangs ``Tensor.tanh`` and ``Tensor.tanh_`` on the class, exports ``accelgrad.tanh`` (with ``out=``), and gives
the tests of ``tests/ops/test_grid.py`` their arguments and the NumPy function they compare with.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from accelgrad.core import graph
from accelgrad.core.graph import state
from accelgrad.core.inplace import assign
from accelgrad.core.primitive import Primitive
from accelgrad.core.promotion import misplaced
from accelgrad.core.tensor import Tensor
from accelgrad.ops.registry.autocast import choosing

__all__ = ["OPS", "Arg", "Op", "Sample", "arg", "op", "sample"]


@dataclass(frozen=True)
class Arg:
    """A random tensor for a test: see :func:`arg`."""

    shape: tuple[int, ...]
    low: float
    high: float
    dtype: str
    distinct: bool
    requires_grad: bool
    values: Any

    def make(self, rng: np.random.Generator, dtype: str = "float64") -> np.ndarray:
        """The array; floating point ones in ``dtype``."""
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
        if self.distinct:  # values at least 0.1 apart: for max, sort and their kin
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
    """Describe a random tensor: uniform in [low, high); integers in [low, high) for an integer ``dtype``.

    ``distinct`` keeps the values apart from each other, for operations with kinks at ties; ``values`` gives
    them outright.
    """
    return Arg(shape, low, high, dtype, distinct, requires_grad and dtype == "float", values)


@dataclass(frozen=True)
class Sample:
    """The arguments of one test call: :class:`Arg` entries stand for tensors, also within lists and
    tuples."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    def make(
        self, rng: np.random.Generator, convert: Callable[[Arg], Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with every :class:`Arg` replaced by ``convert(arg)``."""

        def walk(value: Any) -> Any:
            if isinstance(value, Arg):
                return convert(value)
            if isinstance(value, list | tuple):
                return type(value)(walk(part) for part in value)
            return value

        return tuple(walk(one) for one in self.args), {key: walk(one) for key, one in self.kwargs.items()}


def sample(*args: Any, **kwargs: Any) -> Sample:
    """The arguments of one test call of an operation."""
    return Sample(args, kwargs)


@dataclass(frozen=True)
class Op:
    """What is known of an operation."""

    name: str
    call: Callable[..., Any]
    primitive: type[Primitive] | None
    reference: Callable[..., Any] | None
    samples: tuple[Sample, ...]
    errors: tuple[tuple[Sample, type[Exception], str], ...]
    differentiable: bool
    twice: bool
    namespace: str
    method: str | None
    inplace: bool
    aliases: tuple[str, ...]
    random: bool
    torch: str | None

    @property
    def path(self) -> str:
        """The public name below ``accelgrad``, e.g. ``nn.functional.relu``."""
        return f"{self.namespace}.{self.name}" if self.namespace else self.name


OPS: dict[str, Op] = {}
"""Every operation by its path."""


def op(
    *,
    primitive: type[Primitive] | None = None,
    reference: Callable[..., Any] | None = None,
    samples: Sequence[Sample] = (),
    errors: Sequence[tuple[Sample, type[Exception], str]] = (),
    differentiable: bool = True,
    twice: bool = True,
    namespace: str = "",
    method: bool | str = True,
    inplace: bool = False,
    dunder: Sequence[str] = (),
    aliases: Sequence[str] = (),
    out: bool = True,
    random: bool = False,
    torch: str | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as an operation.

    ``reference`` is the same computation on NumPy arrays (called with the sample's arguments);
    ``samples`` the calls to test; ``errors`` triples (sample, exception, regular expression);
    ``differentiable=False`` for results without gradient and ``twice=False`` where the second
    derivative does not exist; ``namespace`` "" for ``accelgrad``, else e.g. "nn.functional" or
    "linalg"; ``method`` hangs it on Tensor (a string: under that name); ``inplace`` adds ``name_``;
    ``dunder`` the operators it implements; ``aliases`` further names; ``out`` whether ``out=`` is
    accepted; ``random`` that results differ from call to call; ``torch`` PyTorch's dotted name where it
    is not the path.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        path = f"{namespace}.{name}" if namespace else name
        call = _public(choosing(function, path), out=out and not inplace_only(name))
        hung = (name if method is True else method) if method else None
        entry = Op(
            name, call, primitive, reference, tuple(samples), tuple(errors), differentiable, twice, namespace,
            hung, inplace, tuple(aliases), random, torch,
        )  # fmt: skip
        if entry.path in OPS:
            raise ValueError(f"the operation {entry.path!r} is registered twice")
        OPS[entry.path] = entry
        if hung:
            for alias in (hung, *aliases):
                setattr(Tensor, alias, call)
        changing = _in_place(function, name)
        if inplace:
            for alias in (name, *aliases):
                setattr(Tensor, f"{alias}_", changing)
        for operator in dunder:
            augmented = operator.startswith("__i") and operator != "__invert__"  # x += y
            setattr(Tensor, operator, changing if augmented else call)
        return call

    return register


def inplace_only(name: str) -> bool:
    """Whether a name is an in-place form, which takes no ``out``."""
    return name.endswith("_") and not name.startswith("_")


def _public(function: Callable[..., Any], *, out: bool) -> Callable[..., Any]:
    """The function as users call it: NumPy's ``axis``/``keepdims`` beside ``dim``/``keepdim``, and
    ``out=``."""
    signature = inspect.signature(function)
    parameters = signature.parameters
    renamed = {
        numpy_name: name
        for numpy_name, name in (("axis", "dim"), ("keepdims", "keepdim"), ("x", "input"), ("x2", "other"))
        if name in parameters and numpy_name not in parameters
    }
    if "out" in parameters:
        out = False
    starred = next((one.name for one in parameters.values() if one.kind is one.VAR_POSITIONAL), None)

    @functools.wraps(function)
    def public(*args: Any, **kwargs: Any) -> Any:
        if not kwargs:
            try:
                return function(*args)
            except (TypeError, ValueError, NotImplementedError):
                refuse_two_devices(function.__name__, args)
                raise
        if starred in kwargs:  # rand(size=(2, 3)) is rand(2, 3)
            args = (*args, kwargs.pop(starred))
        for numpy_name, name in renamed.items():
            if numpy_name in kwargs:
                if name in kwargs:
                    raise TypeError(
                        f"{function.__name__}() got both {name!r} and {numpy_name!r}: they mean the same"
                    )
                kwargs[name] = kwargs.pop(numpy_name)
        target = kwargs.pop("out", None) if out else None
        try:
            result = function(*args, **kwargs)
        except (TypeError, ValueError, NotImplementedError):
            refuse_two_devices(function.__name__, [*args, *kwargs.values()])
            raise
        return result if target is None else _into(function.__name__, target, result)

    if out:
        where = list(parameters.values())
        extra = inspect.Parameter(
            "out", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="Tensor | None"
        )
        place = next((i for i, one in enumerate(where) if one.kind is one.VAR_KEYWORD), len(where))
        public.__signature__ = signature.replace(parameters=[*where[:place], extra, *where[place:]])  # type: ignore[attr-defined]
    return public


def refuse_two_devices(name: str, values: Iterable[Any]) -> None:
    """After an array module has refused arrays: the error that says so in PyTorch's words, if the reason is
    that they lie on two devices.
    """
    problem = misplaced(name, values)
    if problem is not None:
        raise problem from None


def _into(name: str, target: Any, result: Any) -> Any:
    """Write a result (or a tuple of them) into what the caller gave as ``out``."""
    if isinstance(result, tuple):
        if not isinstance(target, tuple | list) or len(target) != len(result):
            raise TypeError(f"{name}(): out must be a tuple of {len(result)} Tensors")
        written = [_into(name, one, value) for one, value in zip(target, result, strict=True)]
        return type(result)(*written) if hasattr(result, "_fields") else tuple(written)
    if not isinstance(target, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(target).__name__}")
    if target.xp is not result.xp:
        raise RuntimeError(
            f"Expected out tensor to have device {result.device}, but got {target.device} instead: in"
            f" {name}(), give an out on {result.device}, or move the result"
        )
    if state.grad and (result.requires_grad or target.requires_grad):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of"
            " the arguments requires grad."
        )
    if target.array.shape != result.array.shape:
        if target.array.size:
            raise RuntimeError(
                f"{name}(): out has shape {tuple(target.shape)}, but the result has {tuple(result.shape)};"
                " give an out of that shape, or an empty one"
            )
        target.array = target.xp.empty(result.array.shape, dtype=target.array.dtype)
    return assign(target, result)


def _in_place(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """``x.name_(...)``: the operation, written back into ``x``."""

    def in_place(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        since = graph.now()
        return assign(self, function(self, *args, **kwargs), since)

    in_place.__name__ = f"{name}_"
    in_place.__doc__ = f"In-place form of :func:`accelgrad.{name}`."
    in_place.__wrapped_operation__ = function  # type: ignore[attr-defined]
    return in_place
