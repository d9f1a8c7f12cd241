"""Exceptions on their way from a worker to the program, and the search for what cannot be pickled."""

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
    """Return an exception as bytes: itself, its traceback as text, and ``where`` it was raised.

    It keeps its arguments, attributes and notes.  One that cannot be pickled, or cannot be unpickled, is
    sent as a RuntimeError that quotes it.
    """
    text = "".join(traceback.format_exception(error))
    try:
        content = dumps(_Exception(error))
        # Many exceptions pickle well and fail here: their __init__ wants other arguments.
        pickle.loads(content)
    except Exception as reason:
        culprit = find_unpicklable(error.args, "args") or find_unpicklable(vars(error), "its attributes")
        substitute = RuntimeError(
            f"{type(error).__name__}: {error} (the exception itself could not be sent to the main process:"
            f" {culprit + ': ' if culprit else ''}{type(reason).__name__}: {reason})"
        )
        content = pickle.dumps(_Exception(substitute), 5)
    return pickle.dumps((content, where, text), 5)


class _Exception:
    """An exception that pickles with its attributes and notes, but without its traceback."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        error = self.error
        return _rebuild_exception, (type(error), error.args, _attributes(error), _reduced(error))


def _attributes(error: BaseException) -> dict[str, Any]:
    """Return the exception's attributes, its notes among them."""
    return dict(vars(error))


def _reduced(error: BaseException) -> Any:
    """Return the result of the exception's own ``__reduce__`` (OSError's, a subclass's); None without one."""
    return error.__reduce__()[:2] if type(error).__reduce__ is not BaseException.__reduce__ else None


def _rebuild_exception(
    kind: type, args: tuple[Any, ...], attributes: dict[str, Any], recipe: Any
) -> BaseException:
    """Make the exception again; ``recipe`` is its own (function, arguments) where it has one."""
    if recipe is not None:
        error = recipe[0](*recipe[1])
    else:
        try:
            error = kind(*args)
        except Exception:
            # Its __init__ wants other arguments: make it without calling that.
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
    """Return the exception to raise: as it was in the worker, with the place and the traceback as notes."""
    content, where, text = pickle.loads(data)
    try:
        error = pickle.loads(content)
    except Exception as reason:
        error = RuntimeError(f"the worker's exception could not be read ({type(reason).__name__}: {reason})")
    error.add_note(where)
    error.add_note("The worker's " + text.rstrip().replace("Traceback (most", "traceback (most", 1))
    return error


def exit_reason(status: int | None) -> str:
    """Return in words how a worker ended: by an exit code, or by a signal (a negative status)."""
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
    """Return the path to the part of ``value`` that cannot be pickled, or None if all can.

    The path begins with the name ``path``: ``batch['f'][0] (a _io.TextIOWrapper)``.
    """
    dumps = dumps or (lambda part: pickle.dumps(part, 5))
    return _find(value, path, dumps, 0, set())


def _find(value: Any, path: str, dumps: Callable[[Any], bytes], depth: int, seen: set[int]) -> str | None:
    """Search ``value`` for a part that cannot be pickled: the deepest one that alone is to blame."""
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
    """List the parts that pickling ``value`` would visit, each with the text that leads to it."""
    # Containers.
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", part) for key, part in list(value.items())]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(f".{name}", getattr(value, name)) for name in value._fields]
    if isinstance(value, list | tuple | set | frozenset):
        return [(f"[{position}]", part) for position, part in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f".{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value)]
    # A function that is pickled by value: its closure and the globals that it names.
    parts: list[tuple[str, Any]] = []
    if callable(value) and hasattr(value, "__code__"):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=False):
            try:
                parts.append((f"<{name}>", cell.cell_contents))
            except ValueError:
                pass
        names = [name for name in value.__code__.co_names if name in value.__globals__]
        return parts + [(f"<global {name}>", value.__globals__[name]) for name in names]
    # A class, and other objects: their state, slots, and what a bound method belongs to.
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
    """Return the error for a ``value`` that could not be pickled, with the part, the reason, a way out."""
    culprit = find_unpicklable(value, path, dumps) or path
    kind = type(error) if type(error) in (TypeError, pickle.PicklingError) else pickle.PicklingError
    return kind(f"{error}: {culprit} cannot be pickled; {advice}")


def protocol5(pickler: Any) -> Callable[[Any], bytes]:
    """Return a function ``dumps(value)`` that pickles with the given pickler class."""

    def dumps(value: Any) -> bytes:
        file = io.BytesIO()
        pickler(file, protocol=5).dump(value)
        return file.getvalue()

    return dumps
