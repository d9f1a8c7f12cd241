"""Several cores for one kernel: plain threads that call the same compiled function on parts of its range.

The compiled functions release the GIL, so ordinary threads run them at the same time.  Compared with
Numba's own ``prange`` there is only one version of each kernel to compile, load and trust; the launches of
several Python threads cannot collide; and a forked child (a loader's worker) starts without a pool instead
of hanging in its parent's. A launch costs some 30 to 70 microseconds, so kernels come here only with
several times that much work.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from accelgrad.kernels import get_num_threads

__all__ = ["parallel"]

Piece = tuple[int, int]

_launch = threading.Lock()  # one launch at a time; who finds it taken works alone
_inbox: list[SimpleQueue[Any]] = []  # one for each helper thread


def _take(pieces: deque[Piece]) -> Piece | None:
    """The next piece that nobody has taken yet; None where there is none."""
    try:
        return pieces.popleft()
    except IndexError:
        return None


def _work(inbox: SimpleQueue[Any]) -> None:
    while True:
        function, pieces, args, outbox = inbox.get()
        while (piece := _take(pieces)) is not None:
            try:
                function(*piece, *args)
            except BaseException as error:
                outbox.put(error)
            else:
                outbox.put(None)
        del function, pieces, args, outbox  # an idle thread must not keep arrays alive


def _forget() -> None:
    """Forget the parent's queues in a forked child, which has not its threads, and perhaps a shut lock."""
    global _launch
    _launch = threading.Lock()
    _inbox.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def parts(count: int, threads: int, grain: int = 1) -> list[tuple[int, int]]:
    """``range(count)`` in at most ``threads`` pieces that begin at multiples of ``grain``.

    >>> parts(10, 3)
    [(0, 4), (4, 8), (8, 10)]
    """
    pieces = -(-count // grain)
    size = -(-pieces // max(threads, 1)) * grain
    return [(start, min(start + size, count)) for start in range(0, count, max(size, 1))]


def parallel(function: Callable[..., Any], count: int, *args: Any, wide: bool = True, grain: int = 1) -> None:
    """``function(start, stop, *args)`` over pieces of ``range(count)``, at the same time if ``wide``.

    With one thread, one piece, or another launch under way it is one call in this thread.  The pieces must
    not write to the same places.  An exception is raised here, after the pieces that were begun have ended.
    """
    cut = parts(count, get_num_threads(), grain) if wide else ()
    if len(cut) < 2 or not _launch.acquire(blocking=False):
        function(0, count, *args)
        return
    failure: BaseException | None = None
    # Whoever is free takes the next piece: where the cores are busy, a helper may wake up too late for any,
    # and nobody waits for it.
    mine: Piece | None = cut[0]
    pieces, waiting = deque(cut[1:]), len(cut) - 1
    try:
        while len(_inbox) < len(cut) - 1:
            _inbox.append(SimpleQueue())
            threading.Thread(target=_work, args=(_inbox[-1],), name="accelgrad kernel", daemon=True).start()
        # A box of its own for every launch: after Ctrl-C a late piece reports to nobody.
        outbox: SimpleQueue[BaseException | None] = SimpleQueue()
        for inbox in _inbox[: len(cut) - 1]:
            inbox.put((function, pieces, args, outbox))
        while mine is not None:
            if failure is None:  # else it is only taken away from the others
                try:
                    function(*mine, *args)
                except BaseException as error:
                    failure = error
            mine = _take(pieces)
            waiting -= mine is not None
        for _ in range(waiting):
            failure = outbox.get() or failure
    finally:
        _launch.release()
    if failure is not None:
        raise failure
