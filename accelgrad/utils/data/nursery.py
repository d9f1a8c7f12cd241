"""The nursery: a small process that is the workers' parent; it starts them, and reports how they ended.

Why does the program not fork its workers itself?  A worker forked from a clean process inherits no threads,
no locks, no state of Numba or CUDA, and little memory.  And its exit code reaches a process in which nobody
ignores SIGCHLD or waits for children that are not his own.  The program talks to the nursery through one
socket: a record of one byte with two descriptors starts a worker.  The nursery answers on the worker's own
*lifeline*, with the exit status, when the worker has ended.
"""

from __future__ import annotations

import gc
import multiprocessing.spawn
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings
import weakref
from typing import Any

from accelgrad.arrays import gpu
from accelgrad.utils.data import worker
from accelgrad.utils.data.interrupts import interrupts_held, release_in_child

__all__ = ["Nursery", "fork_nursery", "shared_nursery", "sweep_nursery"]

FORK, EXEC = b"F", b"X"
STATUS = struct.Struct("<i")
ONE_THREAD = dict.fromkeys(
    [
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ],
    "1",
)
HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


# --- in the nursery


def serve(control: socket.socket, inherited: Any = None) -> None:
    """Run the nursery: start workers on request, report their ends, end together with the program."""
    # Signals: a worker's end wakes the poll, Ctrl-C is the program's business.
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    # SIGINT was blocked while this interpreter started, so that it printed no traceback.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    gc.freeze()  # a worker's garbage collections skip the objects loaded now, and so do not copy their pages
    lifelines: dict[int, socket.socket] = {}
    poller = select.poll()
    poller.register(control, select.POLLIN)
    poller.register(wake_read, select.POLLIN)
    while True:
        # Workers that have ended, or shall end.
        ready = poller.poll()
        if any(descriptor == wake_read for descriptor, _ in ready):
            try:
                while os.read(wake_read, 512):
                    pass
            except BlockingIOError:
                pass
        _end_forsaken(lifelines, poller, {descriptor for descriptor, _ in ready})
        _report(lifelines, poller)
        # A request of the program: a new worker, or its end.
        if not any(descriptor == control.fileno() for descriptor, _ in ready):
            continue
        data, descriptors, _, _ = socket.recv_fds(control, 1, 2)
        if not data:  # the program has ended, or needs no workers any more
            for pid in lifelines:
                os.kill(pid, signal.SIGKILL)
            while lifelines:
                _report(lifelines, wait=True)
            os._exit(0)
        duplex, lifeline = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(wake_read)
            os.close(wake_write)
            control.close()
            for other in lifelines.values():
                other.close()
            if data == EXEC:
                _become_worker(duplex, lifeline)
            worker.run(duplex, lifeline, inherited)
        lifelines[pid] = lifeline
        poller.register(lifeline, select.POLLIN)
        duplex.close()


def _end_forsaken(lifelines: dict[int, socket.socket], poller: select.poll, ready: set[int]) -> None:
    """Kill workers whose lifeline the program has shut; usually the kernel has done that already."""
    for pid, lifeline in lifelines.items():
        if lifeline.fileno() in ready:
            poller.unregister(lifeline)
            os.kill(pid, signal.SIGKILL)


def _report(lifelines: dict[int, socket.socket], poller: Any = None, wait: bool = False) -> None:
    """Write the exit status of every ended worker to its lifeline."""
    while lifelines:
        try:
            pid, status = os.waitpid(-1, 0 if wait else os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        lifeline = lifelines.pop(pid, None)
        if lifeline is not None:
            if poller is not None:
                try:
                    poller.unregister(lifeline)
                except KeyError:
                    pass
            try:
                lifeline.send(STATUS.pack(os.waitstatus_to_exitcode(status)))
            except OSError:
                pass  # the program does not want to know any more
            lifeline.close()
        if wait:
            return


def _become_worker(duplex: socket.socket, lifeline: socket.socket) -> None:
    """Let a new interpreter take this process's place, for start method "spawn"."""
    os.set_inheritable(duplex.fileno(), True)
    os.set_inheritable(lifeline.fileno(), True)
    arguments = interpreter_arguments(
        "from accelgrad.utils.data.worker import run_spawned;"
        f" run_spawned({duplex.fileno()}, {lifeline.fileno()})"
    )
    try:
        os.execv(arguments[0], arguments)
    finally:
        os._exit(127)


def interpreter_arguments(code: str) -> list[str]:
    """Return the command that runs ``code`` in a new interpreter like this one, with accelgrad importable."""
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # -W, -X, -O, -I ...
    executable = os.fsdecode(multiprocessing.spawn.get_executable() or sys.executable)
    return [
        executable,
        *flags,
        "-c",
        f"import sys; sys.path.insert(0, {HOME!r}); {code}",
    ]


def main(descriptor: int) -> None:
    """Run the nursery in its new interpreter; ``descriptor`` is that of its socket."""
    serve(socket.socket(fileno=descriptor))


# --- in the program


class Nursery:
    """A nursery as the program sees it: the process, and the socket that leads there."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid = pid
        self.control = control
        self.users: weakref.WeakSet[shared_nursery] = weakref.WeakSet()

    def start_worker(self, duplex: socket.socket, lifeline: socket.socket, fresh: bool) -> None:
        """Start a worker on its ends of the two sockets; OSError where the nursery has died."""
        # One sendmsg of one byte: it arrives whole, also when two threads start workers at the same time.
        socket.send_fds(self.control, [EXEC if fresh else FORK], [duplex.fileno(), lifeline.fileno()])

    def close(self) -> None:
        """End the nursery with every worker that it still has, and wait for that."""
        self.control.close()
        deadline, pause = time.monotonic() + 0.5, 0.0005
        try:
            while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                if time.monotonic() > deadline:  # it was stopped, or its interpreter hangs while starting
                    os.kill(self.pid, signal.SIGKILL)
                    os.waitpid(self.pid, 0)
                    return
                time.sleep(pause)
                pause = min(2 * pause, 0.01)
        except ChildProcessError:
            pass  # SIGCHLD is ignored, or somebody waited for it: it is gone in any case


def _exec_nursery() -> Nursery:
    """Start a nursery in a new interpreter, which has nothing of this program's state."""
    here, there = socket.socketpair()
    number = 4 if there.fileno() == 3 else 3
    environment = {**os.environ, **ONE_THREAD}
    arguments = interpreter_arguments(f"from accelgrad.utils.data.nursery import main; main({number})")
    # Its standard input is empty: a script that comes from there is not for the workers to read.
    no_input = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    actions = [(os.POSIX_SPAWN_DUP2, there.fileno(), number), no_input]
    defaults = [signal.SIGCHLD, signal.SIGPIPE, signal.SIGTERM, signal.SIGHUP]
    try:
        pid = os.posix_spawn(
            arguments[0],
            arguments,
            environment,
            file_actions=actions,
            setsigmask=[signal.SIGINT],
            setsigdef=defaults,
        )
    except BaseException:
        here.close()
        raise
    finally:
        there.close()
    return Nursery(pid, here)


def fork_nursery(inherited: Any) -> Nursery:
    """Fork a nursery from the program as it is: ``inherited`` reaches the workers without pickling."""
    used = [name for name in ("numba", "cupy") if _has_run(name)]
    if used:
        warnings.warn(
            f"DataLoader: multiprocessing_context='fork' after {' and '.join(used)} has run in this process"
            " is dangerous: a forked worker is terminated at its first parallel kernel,"
            " and cannot use the card at all; the default, forkserver, is safe",
            RuntimeWarning,
            stacklevel=2,
        )
    here, there = socket.socketpair()
    with warnings.catch_warnings():
        # Python 3.12 warns that this process has several threads; the caller has asked for the fork.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            release_in_child()
            here.close()
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.close(null)
            serve(there, inherited)
        finally:
            os._exit(1)
    there.close()
    return Nursery(pid, here)


def _has_run(name: str) -> bool:
    """Return whether Numba's threads or CuPy's context exist in this process."""
    if name == "numba":
        parallel = sys.modules.get("numba.np.ufunc.parallel")
        return bool(getattr(parallel, "_is_initialized", False))
    return "cupy" in sys.modules and gpu.driver_version() > 0  # without a driver there is no context


_lock = threading.RLock()
_shared: Nursery | None = None


class shared_nursery:
    """A user of the program's one nursery for "forkserver" and "spawn", which ends with its last user."""

    def __init__(self) -> None:
        self.nursery: Nursery | None = None

    def get(self, renew: bool = False) -> Nursery:
        """Return the nursery, started at first use; ``renew`` asks for another one, since it is dead."""
        global _shared
        with interrupts_held(), _lock:
            if _shared is not None and renew and self.nursery is _shared:
                dead, _shared = _shared, None
                dead.close()
            if _shared is None:
                _shared = _exec_nursery()
            if self.nursery is not _shared:
                self.nursery = _shared
                _shared.users.add(self)
            return _shared

    def release(self) -> None:
        """Give up this user's claim; the nursery ends with its last user."""
        with interrupts_held(), _lock:
            nursery, self.nursery = self.nursery, None
            if nursery is None:
                return
            nursery.users.discard(self)
            sweep_nursery()


def sweep_nursery() -> None:
    """End the shared nursery if it has no user left."""
    global _shared
    with interrupts_held(), _lock:
        if _shared is not None and not list(_shared.users):
            nursery, _shared = _shared, None
            nursery.close()


def forget_in_child() -> None:
    """Forget the nursery in a fork of the program: it is the parent's."""
    global _shared, _lock
    if _shared is not None:
        _shared.control.close()
    _shared = None
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_in_child)
