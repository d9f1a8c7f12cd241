"""Workers on a system without fork, without descriptors sent over sockets, without poll (Windows).

A worker is a plain process that ``subprocess`` starts.  It connects back on two sockets of the loopback
interface.  Through one it receives its dataset and its tasks; through the other, which is its lifeline too,
it sends its batches.  They need a socket on which nothing comes: when a process ends with something unread
*for* it, TCP also drops what is still on its way *from* it.  No memory is shared, so this is slower.  All
guarantees hold except one: a worker that holds the interpreter's lock in C outlives a killed program.
"""

from __future__ import annotations

import hmac
import os
import select
import selectors
import socket
import subprocess
import threading
from typing import Any

__all__ = ["DIRECT", "Poller", "call_worker", "make_poller", "watch_lifeline"]

DIRECT = not hasattr(os, "fork")  # whether workers are started this way
PATIENCE = 60.0  # seconds for an interpreter to start
TOKEN = 32

# Runs in the new interpreter before it imports accelgrad: calling back takes 30 ms, importing more.  The two
# sockets are in ``ends`` then.
GREETING = (
    "import socket, sys; word = sys.stdin.buffer.read();"
    " port = int.from_bytes(word[:2], 'big')\nends = []\nfor kind in (b'D',"
    " b'L'):\n    ends.append(socket.create_connection(('127.0.0.1', port)));"
    " ends[-1].sendall(kind + word[2:])\n"
)


class Poller:
    """The three methods of ``select.poll``, made from ``selectors``."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()

    def register(self, descriptor: Any, events: int) -> None:
        """Watch a descriptor, or watch it for other events from now on."""
        wanted = selectors.EVENT_READ if events & READABLE else 0
        wanted |= selectors.EVENT_WRITE if events & WRITABLE else 0
        try:
            self.selector.register(descriptor, wanted)
        except KeyError:
            self.selector.modify(descriptor, wanted)

    def unregister(self, descriptor: Any) -> None:
        """Stop watching a descriptor; KeyError if it is not watched."""
        self.selector.unregister(descriptor)

    def poll(self, milliseconds: float | None = None) -> list[tuple[int, int]]:
        """Wait for descriptors that are ready; each with the events that it is ready for."""
        found = []
        for key, events in self.selector.select(None if milliseconds is None else milliseconds / 1000):
            readable = READABLE if events & selectors.EVENT_READ else 0
            found.append((key.fd, readable | (WRITABLE if events & selectors.EVENT_WRITE else 0)))
        return found


READABLE: int = getattr(select, "POLLIN", 1)
WRITABLE: int = getattr(select, "POLLOUT", 4)


def make_poller() -> Any:
    """Return ``select.poll()``, or its stand-in where there is none."""
    return select.poll() if hasattr(select, "poll") else Poller()


def call_worker(command: list[str], environment: dict[str, str]) -> tuple[socket.socket, socket.socket, Any]:
    """Start an interpreter with ``command``, which runs :data:`GREETING`, and wait for its two connections.

    Returns (duplex, lifeline, process).  RuntimeError if it ends, or does not connect within a minute.  A
    connection without the secret is closed.
    """
    secret = os.urandom(TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as server:
        # On Windows a console's Ctrl-C goes to every process of its group.
        group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, creationflags=group)
        ends: dict[bytes, socket.socket] = {}
        try:
            # Tell it the port and the secret, then accept its two connections.
            assert process.stdin is not None
            with process.stdin as pipe:
                pipe.write(server.getsockname()[1].to_bytes(2, "big") + secret)
            server.settimeout(0.5)
            waited = 0.0
            while len(ends) < 2:
                try:
                    end, _ = server.accept()
                except TimeoutError:
                    waited += 0.5
                    if process.poll() is not None or waited > PATIENCE:
                        raise RuntimeError(
                            "a DataLoader worker could not be started:"
                            f" its interpreter {command[0]} gave no sign of life"
                            f" (exit code {process.returncode})"
                        ) from None
                    continue
                end.settimeout(5)
                word = _read(end, 1 + TOKEN)
                if hmac.compare_digest(word[1:], secret) and word[:1] in (b"D", b"L"):
                    end.settimeout(None)
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    ends[word[:1]] = end
                else:
                    end.close()
        except BaseException:
            for end in ends.values():
                end.close()
            process.kill()
            process.wait()
            raise
    return ends[b"D"], ends[b"L"], process


def _read(sock: socket.socket, size: int) -> bytes:
    """Return the next ``size`` bytes, or fewer where no more come."""
    data = b""
    try:
        while len(data) < size and (more := sock.recv(size - len(data))):
            data += more
    except OSError:
        pass
    return data


def watch_lifeline(lifeline: socket.socket) -> None:
    """Start a thread that ends this process when the other end of the lifeline closes."""

    def wait() -> None:
        try:
            lifeline.recv(1)
        except OSError:
            pass
        os._exit(0)

    threading.Thread(target=wait, name="accelgrad-lifeline", daemon=True).start()
