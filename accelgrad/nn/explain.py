"""The words of modules: notes on exceptions (in which layer, what it had expected), names of types.

The notes are made only when an exception passes through ``Module.__call__``; it keeps its class and words.
"""

from __future__ import annotations

from typing import Any

from accelgrad.core.tensor import Tensor

__all__ = ["indented", "locate", "misfit", "typename"]


def locate(error: Exception, module: Any, args: tuple[Any, ...]) -> None:
    """Note on ``error`` that it happened in ``module``; every module around it makes the path longer."""
    known = error.__dict__.get("_accelgrad_module")
    if known is None:
        error.__dict__["_accelgrad_module"] = known = (module, _expectation(module, args))
        path = ""
    else:
        path = next((name for name, inner in module.named_modules() if inner is known[0]), "")
        if not path:
            return
    inner, expectation = known
    where = f"{type(module).__name__}.{path}" if path else ""
    text = f"in {where + ' = ' if where else ''}{_short(inner)}"
    if expectation:
        text += f": {expectation}"
    notes = error.__dict__.setdefault("__notes__", [])
    earlier = error.__dict__.get("_accelgrad_note")
    if earlier in notes:
        notes[notes.index(earlier)] = text
    else:
        notes.append(text)
    error.__dict__["_accelgrad_note"] = text


def _short(module: Any) -> str:
    """The printed line of a layer; for a module with children its class's name alone."""
    name = type(module).__name__
    try:
        return f"{name}(...)" if module._modules else f"{name}({module.extra_repr()})"
    except Exception:
        return name


def _expectation(module: Any, args: tuple[Any, ...]) -> str:
    """A sentence on what the layer expected and got; empty where nothing stands out."""
    try:
        tensors = [one for one in args if isinstance(one, Tensor)]
        if not tensors:
            return ""
        said = module._expects(tensors[0])
        return said or _type_and_device(module, tensors[0])
    except Exception:
        # To explain an error must never hide it.
        return ""


def _type_and_device(module: Any, input: Tensor) -> str:
    """A sentence on a parameter of another device or type than the input; empty where there is none."""
    for name, parameter in module._parameters.items():
        if parameter is None:
            continue
        if parameter.xp is not input.xp:
            return (
                f"the input is on {input.device} but {name} on {parameter.device}; move one of them:"
                f" x.to('{parameter.device}')"
            )
        if input.dtype.is_floating_point and input.dtype is not parameter.dtype:
            kind = {"float16": "half", "bfloat16": "bfloat16", "float32": "float", "float64": "double"}[
                parameter.dtype.name
            ]
            numpy = (
                " NumPy arrays are float64 by default:" if input.dtype.name == "float64" else " Convert it:"
            )
            return f"the input is {input.dtype.name} but {name} is {parameter.dtype.name}.{numpy} x.{kind}()"
    return ""


def indented(text: str) -> str:
    """The text with every line but the first moved to the right."""
    first, *rest = text.split("\n")
    return "\n".join([first, *(f"  {line}" for line in rest)])


def typename(value: Any) -> str:
    """The type of a value as messages show it."""
    if isinstance(value, Tensor):
        return f"accelgrad.{value.dtype.title}"
    kind = type(value) if not isinstance(value, type) else value
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def misfit(value: Any, what: str, wanted: str) -> TypeError:
    """The exception for a value that must not be assigned to a parameter, buffer or child module."""
    return TypeError(f"cannot assign '{typename(value)}' as {what} ({wanted} or None expected)")
