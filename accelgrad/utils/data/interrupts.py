"""A block of short steps that no signal handler can interrupt."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

__all__ = ["interrupts_held", "release_in_child"]

_active: list[interrupts_held] = []


class interrupts_held:
    """Lets Python's signal handlers wait until the end of a block; they run there, in their order.

    It is for steps that get something from the system (a process, a descriptor) and then store it: an
    exception between the two, such as KeyboardInterrupt, would lose it for good.  Only the main thread runs
    handlers; in another one the block does nothing.  Blocking the signals in the system would not be enough:
    another thread, of BLAS for instance, would take them, and the handler would still run here.

    >>> import signal
    >>> before = signal.signal(signal.SIGTERM, lambda *_: print("the handler runs"))
    >>> with interrupts_held():
    ...     signal.raise_signal(signal.SIGTERM)
    ...     print("this line comes first")
    this line comes first
    the handler runs
    >>> _ = signal.signal(signal.SIGTERM, before)
    """

    def __enter__(self) -> None:
        self.came: list[tuple[int, FrameType | None]] = []
        self.handlers: dict[int, Any] = {}
        if threading.current_thread() is not threading.main_thread():
            return
        found = {number: signal.getsignal(number) for number in signal.valid_signals()}
        self.handlers = {number: handler for number, handler in found.items() if callable(handler)}
        _active.append(self)
        try:
            for number in self.handlers:
                signal.signal(number, self._note)
        except BaseException:
            self._restore()
            raise

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Remember a signal: the handler of all signals within the block."""
        self.came.append((number, frame))

    def _restore(self) -> BaseException | None:
        """Put the handlers back; the exception of one that ran meanwhile, which the caller has to raise."""
        left, cut = list(self.handlers.items()), None
        while left:
            try:
                signal.signal(*left[-1])
                left.pop()
            except BaseException as error:  # raised by a handler that is already back in its place
                cut = error
        if self in _active:
            _active.remove(self)
        return cut

    def __exit__(self, *exception: Any) -> None:
        cut = self._restore()
        for number, frame in self.came:
            self.handlers[number](number, frame)
        if cut is not None:
            raise cut


def release_in_child() -> None:
    """Put the handlers back in a fork of the program, and forget the signals, which were the program's."""
    while _active:
        _active[-1].came.clear()
        _active[-1]._restore()
