"""Faults that travel: exceptions of a worker as the parent raises them, and what in an object cannot be
pickled."""

from __future__ import annotations

import dataclasses
import io
import pickle
import signal
import traceback
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["find_unpicklable", "pack_exception", "unpack_exception", "unpicklable_error"]

MAX_DEPTH = 12


# --- exceptions


def pack_exception(error: BaseException, where: str, dumps: Callable[[Any], bytes]) -> bytes:
    """An exception as bytes: itself with arguments and attributes, its traceback as text, and where it
    happened.

    One that cannot be pickled, or not unpickled, travels as a RuntimeError that quotes it.
    """
    text = "".join(traceback.format_exception(error))
    try:
        content = dumps(_Exception(error))
        pickle.loads(
            content
        )  # many exceptions pickle well and fail here: their __init__ wants other arguments
    except Exception as reason:
        culprit = find_unpicklable(error.args, "args") or find_unpicklable(vars(error), "its attributes")
        substitute = RuntimeError(
            f"{type(error).__name__}: {error} (the exception itself could not be sent to the main process:"
            f" {culprit + ': ' if culprit else ''}{type(reason).__name__}: {reason})"
        )
        content = pickle.dumps(_Exception(substitute), 5)
    return pickle.dumps((content, where, text), 5)


class _Exception:
    """An exception with what its own pickling forgets: attributes and notes, but not the traceback."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        error = self.error
        return _rebuild_exception, (type(error), error.args, _attributes(error), _reduced(error))


def _attributes(error: BaseException) -> dict[str, Any]:
    return dict(vars(error))


def _reduced(error: BaseException) -> Any:
    """The exception's own recipe where it has one, e.g. OSError's or a subclass's __reduce__."""
    return error.__reduce__()[:2] if type(error).__reduce__ is not BaseException.__reduce__ else None


def _rebuild_exception(
    kind: type, args: tuple[Any, ...], attributes: dict[str, Any], recipe: Any
) -> BaseException:
    if recipe is not None:
        error = recipe[0](*recipe[1])
    else:
        try:
            error = kind(*args)
        except Exception:
            # BaseException.__reduce__ would fail just so: make it without its __init__.
            error = kind.__new__(kind, *args)
            error.args = args
    for name, value in attributes.items():
        if name != "__notes__":
            try:
                setattr(error, name, value)
            except AttributeError:  # a property without setter
                pass
    for note in attributes.get("__notes__", ()):
        error.add_note(note)
    return error


def unpack_exception(data: bytes) -> BaseException:
    """The exception to raise: type, arguments and attributes as in the worker, the rest of the story as
    notes."""
    content, where, text = pickle.loads(data)
    try:
        error = pickle.loads(content)
    except Exception as reason:
        error = RuntimeError(f"the worker's exception could not be read ({type(reason).__name__}: {reason})")
    error.add_note(where)
    error.add_note("The worker's " + text.rstrip().replace("Traceback (most", "traceback (most", 1))
    return error


def exit_reason(status: int | None) -> str:
    """``is killed by signal: Killed (SIGKILL)`` or ``exited unexpectedly with exit code 3``, from a wait
    status."""
    if status is None:
        return "exited unexpectedly; its exit code could not be learnt"
    if status < 0:
        try:
            name = signal.Signals(-status).name
            text = f"{signal.strsignal(-status)} ({name}, {-status})"
        except ValueError:
            text = str(-status)
        hint = "; often the kernel's out-of-memory killer" if -status == getattr(signal, "SIGKILL", 0) else ""
        return f"is killed by signal: {text}{hint}"
    return f"exited unexpectedly with exit code {status}"


# --- pickling


def find_unpicklable(value: Any, path: str, dumps: Callable[[Any], bytes] | None = None) -> str | None:
    """The path of the part of ``value`` that cannot be pickled, e.g. ``batch['f'][0] (a _io.TextIOWrapper)``;
    or None."""
    dumps = dumps or (lambda part: pickle.dumps(part, 5))
    return _find(value, path, dumps, 0, set())


def _find(value: Any, path: str, dumps: Callable[[Any], bytes], depth: int, seen: set[int]) -> str | None:
    if id(value) in seen:
        return None
    seen.add(id(value))
    try:
        dumps(value)
        return None
    except Exception:
        pass
    if depth < MAX_DEPTH:
        for name, part in _parts(value):
            if (found := _find(part, path + name, dumps, depth + 1, seen)) is not None:
                return found
    kind = type(value)
    qualified = (
        kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    )
    return f"{path} ({'an' if qualified[0] in 'aeiou' else 'a'} {qualified})"


def _parts(value: Any) -> list[tuple[str, Any]]:
    """The parts that pickling ``value`` would visit, with the text that leads to them."""
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", part) for key, part in list(value.items())]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(f".{name}", getattr(value, name)) for name in value._fields]
    if isinstance(value, list | tuple | set | frozenset):
        return [(f"[{position}]", part) for position, part in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f".{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value)]
    parts: list[tuple[str, Any]] = []
    if callable(value) and hasattr(
        value, "__code__"
    ):  # a function by value: what it closes over and its globals
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=False):
            try:
                parts.append((f"<{name}>", cell.cell_contents))
            except ValueError:
                pass
        names = [name for name in value.__code__.co_names if name in value.__globals__]
        return parts + [(f"<global {name}>", value.__globals__[name]) for name in names]
    if isinstance(value, type):
        return [(f".{name}", part) for name, part in vars(value).items() if callable(part)]
    state = getattr(value, "__dict__", None)
    if hasattr(type(value), "__getstate__") and type(value).__getstate__ is not object.__getstate__:
        try:
            state = value.__getstate__()
        except Exception:
            state = None
    if isinstance(state, Mapping):
        parts += [(f".{name}", part) for name, part in state.items()]
    for name in getattr(type(value), "__slots__", ()):
        if isinstance(name, str) and hasattr(value, name):
            parts.append((f".{name}", getattr(value, name)))
    if hasattr(value, "__self__") and hasattr(value, "__func__"):
        parts.append((".__self__", value.__self__))
    return [*parts, (" (its class)", type(value))] if type(value).__module__ == "__main__" else parts


def unpicklable_error(value: Any, path: str, error: Exception, advice: str, dumps: Any = None) -> Exception:
    """The error to raise where ``value`` could not be pickled: names the part, quotes the reason, gives the
    cure."""
    culprit = find_unpicklable(value, path, dumps) or path
    kind = type(error) if type(error) in (TypeError, pickle.PicklingError) else pickle.PicklingError
    return kind(f"{error}: {culprit} cannot be pickled; {advice}")


def protocol5(pickler: Any) -> Callable[[Any], bytes]:
    """``dumps`` by a pickler class."""

    def dumps(value: Any) -> bytes:
        file = io.BytesIO()
        pickler(file, protocol=5).dump(value)
        return file.getvalue()

    return dumps
