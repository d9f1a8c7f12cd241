"""One worker as the program sees it, and the possible answers of a worker to a task."""

from __future__ import annotations

import socket
import subprocess
import time
from collections import deque
from typing import Any

from accelgrad.utils.data.memory import MappedArena
from accelgrad.utils.data.nursery import STATUS
from accelgrad.utils.data.transport import Channel, Head

__all__ = ["Batch", "Ended", "Failed", "Handle", "Lost", "Stale", "shut_down"]


class Batch:
    """The answer that is a batch: still packed, in shared memory or in its message."""

    __slots__ = ("arena", "frame", "handle", "head", "memory", "received")

    def __init__(self, handle: Handle, frame: bytearray, head: Head) -> None:
        self.handle = handle
        self.frame = frame
        self.head = head
        self.memory: list[Any] = []
        self.arena = handle.arenas.get(head.arena)
        self.received = time.perf_counter()


class Failed:
    """The answer that is an exception, in the bytes of :func:`pack_exception`."""

    def __init__(self, content: bytes) -> None:
        self.content = content


class Ended:
    """The answer that a worker's share of an iterable dataset has ended."""


class Lost:
    """The stand-in for an answer that will not come, since its worker has died."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Stale:
    """A slot of memory to be given back at once: its batch belongs to an epoch that is over."""

    __slots__ = ("arena", "slot", "use")

    def __init__(self, arena: int, slot: int, use: int) -> None:
        self.arena, self.slot, self.use = arena, slot, use


class Handle:
    """The program's side of one worker: its sockets, its memory, the tasks that it has not answered."""

    def __init__(self, number: int, sock: socket.socket, lifeline: socket.socket, direct: bool) -> None:
        self.number = number
        self.direct = direct
        self.channel = Channel(sock, lifeline if direct else sock)  # see portable.py
        self.lifeline = lifeline
        self.descriptors = (sock.fileno(), lifeline.fileno())
        self.pid: int | None = None
        self.arenas: dict[int, MappedArena] = {}
        self.returned: deque[Any] = deque()  # leases that ended; filled by weak references, in any thread
        self.outstanding: dict[int, Any] = {}  # task -> indices, in the order of sending
        self.dead: str | None = None
        self.process: Any = None  # where there is no nursery

    def freed(self) -> list[tuple[int, int, int]]:
        """Return the slots to be given back, for the next message; :meth:`told` takes them off the list."""
        if not self.returned:
            return []
        leases = [self.returned[i] for i in range(len(self.returned))]  # more may come at any moment
        return [(lease.arena, lease.slot, lease.use) for lease in leases]

    def told(self, count: int) -> None:
        """Take the first ``count`` freed slots off the list: a message has told the worker of them."""
        for _ in range(count):
            self.returned.popleft()

    def name(self) -> str:
        """Return the worker's name in messages: ``worker 1 (pid 4711)``."""
        return f"worker {self.number} (pid {self.pid if self.pid is not None else 'not known yet'})"

    def exit_status(self) -> int | None:
        """Return the wait status, from the nursery or the process; None if there is none within 0.2 s."""
        if self.process is not None:
            try:
                return self.process.wait(0.2)
            except subprocess.TimeoutExpired:
                return None
        self.lifeline.settimeout(0.2)
        try:
            data = self.lifeline.recv(STATUS.size)
        except OSError:
            return None
        return STATUS.unpack(data)[0] if len(data) == STATUS.size else None

    def ends_before(self, deadline: float) -> bool:
        """Wait for a process of our own until ``deadline`` (``time.monotonic()``); whether it has ended."""
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """Close its sockets, which ends the worker if it is still running."""
        self.lifeline.close()
        self.channel.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def shut_down(sock: socket.socket, how: int) -> None:
    """Call ``sock.shutdown(how)``; a socket that is closed already is no error."""
    try:
        sock.shutdown(how)
    except OSError:
        pass
