"""Modes of a thread: whether operations are recorded, inference, anomaly detection, autocast.

Each thread has its own, as in PyTorch: a ``with no_grad():`` in one does not reach another.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

__all__ = [
    "enable_grad", "inference_mode", "is_grad_enabled", "is_inference_mode_enabled", "no_grad",
    "set_grad_enabled", "state",
]  # fmt: skip


class _State(threading.local):
    """The modes of this thread."""

    grad = True
    inference = False
    anomaly = False
    check_nan = False
    # The function that casts the inputs of an operation, while autocast is on.
    casting: Any = None
    # The lower types that were chosen for autocast, by kind of device.
    lower: Any = None


state = _State()


def is_grad_enabled() -> bool:
    """Tell whether operations are being recorded in this thread.

    >>> with no_grad():
    ...     is_grad_enabled()
    False
    """
    return state.grad


def is_inference_mode_enabled() -> bool:
    """Tell whether :class:`inference_mode` is on in this thread.

    >>> is_inference_mode_enabled()
    False
    """
    return state.inference


class _Switch(contextlib.ContextDecorator):
    """A grad mode as a ``with`` block and as decorator, of generator functions too."""

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:  # type: ignore[override]
        if not inspect.isgeneratorfunction(func):
            return super().__call__(func)

        @functools.wraps(func)
        def generator(*args: Any, **kwargs: Any) -> Any:
            running = func(*args, **kwargs)
            sent: Any = None
            try:
                while True:
                    with self._recreate_cm():  # type: ignore[attr-defined]
                        try:
                            value = running.send(sent)
                        except StopIteration as stop:
                            return stop.value
                    sent = yield value  # the caller's code runs in the caller's mode
            finally:
                running.close()

        return generator


class set_grad_enabled(_Switch):
    """Switch recording on or off, from here on or within a ``with`` block.

    >>> with set_grad_enabled(False):
    ...     is_grad_enabled()
    False
    """

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self.previous = state.grad
        state.grad = self.mode

    def _recreate_cm(self) -> set_grad_enabled:
        return type(self)(self.mode)

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:  # type: ignore[override]
        state.grad = self.previous  # as a decorator the mode holds inside the function only
        return super().__call__(func)

    def __enter__(self) -> None:
        state.grad = self.mode

    def __exit__(self, *exception: object) -> None:
        state.grad = self.previous


class no_grad(_Switch):
    """Record nothing within the block or the decorated function: results have ``requires_grad=False``.

    >>> import accelgrad
    >>> x = accelgrad.ones(2, requires_grad=True)
    >>> with accelgrad.no_grad():
    ...     (x * 2).requires_grad
    False
    """

    _mode = False

    def __new__(cls, func: Callable[..., Any] | None = None) -> Any:
        self = super().__new__(cls)
        return self if func is None else self(func)  # @no_grad without parentheses

    def __init__(self, func: Callable[..., Any] | None = None) -> None:
        self.previous: list[bool] = []

    def _recreate_cm(self) -> no_grad:
        return type(self)()

    def __enter__(self) -> None:
        self.previous.append(state.grad)
        state.grad = self._mode

    def __exit__(self, *exception: object) -> None:
        state.grad = self.previous.pop()


class enable_grad(no_grad):
    """Record within the block or the decorated function, also inside :class:`no_grad`."""

    _mode = True


class inference_mode(_Switch):
    """Like :class:`no_grad`, and says so: for code that never needs a gradient.

    >>> with inference_mode():
    ...     is_inference_mode_enabled(), is_grad_enabled()
    (True, False)
    """

    def __new__(cls, mode: bool | Callable[..., Any] = True) -> Any:
        self = super().__new__(cls)
        if callable(mode):
            self.__init__()  # type: ignore[misc]
            return self(mode)
        return self

    def __init__(self, mode: bool = True) -> None:
        self.mode = mode
        self.previous: list[tuple[bool, bool]] = []

    def _recreate_cm(self) -> inference_mode:
        return type(self)(self.mode)

    def __enter__(self) -> None:
        self.previous.append((state.grad, state.inference))
        state.inference = self.mode
        state.grad = not self.mode

    def __exit__(self, *exception: object) -> None:
        state.grad, state.inference = self.previous.pop()
