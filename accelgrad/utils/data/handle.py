"""One worker as the program sees it, and what can come from it in answer to a task."""

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
    """A result that lies in shared memory or in its message, not yet taken apart."""

    __slots__ = ("arena", "frame", "handle", "head", "memory", "received")

    def __init__(self, handle: Handle, frame: bytearray, head: Head) -> None:
        self.handle = handle
        self.frame = frame
        self.head = head
        self.memory: list[Any] = []
        self.arena = handle.arenas.get(head.arena)
        self.received = time.perf_counter()


class Failed:
    """A result that is an exception."""

    def __init__(self, content: bytes) -> None:
        self.content = content


class Ended:
    """A worker's share of an iterable dataset is exhausted."""


class Lost:
    """A result that will not come: its worker died."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Stale:
    """A slot to be given back that never became a lease."""

    __slots__ = ("arena", "slot", "use")

    def __init__(self, arena: int, slot: int, use: int) -> None:
        self.arena, self.slot, self.use = arena, slot, use


class Handle:
    """One worker, seen from the program."""

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
        """Slots to be given back, for the next message.  :meth:`told` takes them off the list."""
        if not self.returned:
            return []
        leases = [self.returned[i] for i in range(len(self.returned))]  # more may come at any moment
        return [(lease.arena, lease.slot, lease.use) for lease in leases]

    def told(self, count: int) -> None:
        """The message with the first ``count`` freed slots is on its way."""
        for _ in range(count):
            self.returned.popleft()

    def name(self) -> str:
        """``worker 1 (pid 4711)``"""
        return f"worker {self.number} (pid {self.pid if self.pid is not None else 'not known yet'})"

    def exit_status(self) -> int | None:
        """What the nursery wrote, or the process has, of its end; None if there is nothing in a moment."""
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
        """Wait for a process of our own to end; False if it has not when ``time.monotonic()`` says so."""
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """Close its sockets, which ends it if it has not ended."""
        self.lifeline.close()
        self.channel.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def shut_down(sock: socket.socket, how: int) -> None:
    """``sock.shutdown(how)``, also of one that is closed already."""
    try:
        sock.shutdown(how)
    except OSError:
        pass
