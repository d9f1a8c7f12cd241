"""The form of an operation for users: NumPy's names of arguments beside PyTorch's, and ``out=``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from accelgrad.core.inplace import assign
from accelgrad.core.modes import state
from accelgrad.core.promotion import refuse_two_devices
from accelgrad.core.tensor import Tensor

__all__ = ["changes_in_place", "public_form"]

NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim", "x": "input", "x2": "other"}
"""NumPy's name of an argument -> PyTorch's."""


def changes_in_place(name: str) -> bool:
    """Tell whether an operation of this name changes its input in place: the name ends in an underscore."""
    return name.endswith("_") and not name.startswith("_")


def public_form(function: Callable[..., Any], *, out: bool) -> Callable[..., Any]:
    """Wrap a function for users.

    The wrapper takes NumPy's ``axis`` and ``keepdims`` for ``dim`` and ``keepdim``, takes ``out=`` if ``out``
    is True, and has a clear error for tensors on two devices.
    """
    signature = inspect.signature(function)
    parameters = signature.parameters
    renamed = {
        numpy_name: name
        for numpy_name, name in NUMPY_NAMES.items()
        if name in parameters and numpy_name not in parameters
    }
    if "out" in parameters:
        out = False
    starred = next((one.name for one in parameters.values() if one.kind is one.VAR_POSITIONAL), None)

    @functools.wraps(function)
    def public(*args: Any, **kwargs: Any) -> Any:
        # The short way: most calls have no keyword.
        if not kwargs:
            try:
                return function(*args)
            except (TypeError, ValueError, NotImplementedError):
                refuse_two_devices(function.__name__, args)
                raise
        if starred in kwargs:
            # rand(size=(2, 3)) is rand(2, 3).
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

    # What help() and the stubs show has ``out`` too.
    if out:
        where = list(parameters.values())
        extra = inspect.Parameter(
            "out", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="Tensor | None"
        )
        place = next((i for i, one in enumerate(where) if one.kind is one.VAR_KEYWORD), len(where))
        public.__signature__ = signature.replace(parameters=[*where[:place], extra, *where[place:]])  # type: ignore[attr-defined]
    return public


def _into(name: str, target: Any, result: Any) -> Any:
    """Write a result, or a tuple of results, into the tensors that the caller gave as ``out``."""
    if isinstance(result, tuple):
        if not isinstance(target, tuple | list) or len(target) != len(result):
            raise TypeError(f"{name}(): out must be a tuple of {len(result)} Tensors")
        written = [_into(name, one, value) for one, value in zip(target, result, strict=True)]
        return type(result)(*written) if hasattr(result, "_fields") else tuple(written)
    if not isinstance(target, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(target).__name__}")
    if target.xp is not result.xp:
        raise RuntimeError(
            f"Expected out tensor to have device {result.device}, but got {target.device} instead:"
            f" in {name}(), give an out on {result.device}, or move the result"
        )
    if state.grad and (result.requires_grad or target.requires_grad):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation,"
            " but one of the arguments requires grad."
        )
    if target.array.shape != result.array.shape:
        if target.array.size:
            raise RuntimeError(
                f"{name}(): out has shape {tuple(target.shape)}, but the result has {tuple(result.shape)};"
                " give an out of that shape, or an empty one"
            )
        target.array = target.xp.empty(result.array.shape, dtype=target.array.dtype)
    return assign(target, result)
