"""The nursery: a small process that is the workers' parent; it starts them, and reports how they ended.

Why not the program itself?  A worker forked from a clean process inherits no threads, no locks, no Numba or
CUDA state and no half of the parent's memory; and its exit code is learnt by a process in which nobody
ignores SIGCHLD or waits for foreign children.  The program talks to the nursery through one socket: a record
of one byte with two descriptors starts a worker.  The nursery answers on the worker's own *lifeline*: the
exit status, once the worker has ended.
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
    """The nursery's life: start workers on request, report their ends, leave with the program."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the program's business
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.pthread_sigmask(
        signal.SIG_SETMASK, ()
    )  # it came with SIGINT blocked: no traceback while it started
    gc.freeze()  # a worker's garbage collections leave alone what is loaded now, and so do not copy its pages
    lifelines: dict[int, socket.socket] = {}
    poller = select.poll()
    poller.register(control, select.POLLIN)
    poller.register(wake_read, select.POLLIN)
    while True:
        ready = poller.poll()
        if any(descriptor == wake_read for descriptor, _ in ready):
            try:
                while os.read(wake_read, 512):
                    pass
            except BlockingIOError:
                pass
        _end_forsaken(lifelines, poller, {descriptor for descriptor, _ in ready})
        _report(lifelines, poller)
        if not any(descriptor == control.fileno() for descriptor, _ in ready):
            continue
        data, descriptors, _, _ = socket.recv_fds(control, 1, 2)
        if not data:  # the program has gone, or needs no workers any more
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
    """Kill workers whose lifeline the program has shut; mostly the kernel has done that already."""
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
    """Start method "spawn": a new interpreter takes this process's place."""
    os.set_inheritable(duplex.fileno(), True)
    os.set_inheritable(lifeline.fileno(), True)
    arguments = interpreter_arguments(
        f"from accelgrad.utils.data.worker import run_spawned; run_spawned({duplex.fileno()},"
        f" {lifeline.fileno()})"
    )
    try:
        os.execv(arguments[0], arguments)
    finally:
        os._exit(127)


def interpreter_arguments(code: str) -> list[str]:
    """The command that runs ``code`` in a new interpreter like this one, with accelgrad importable."""
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # -W, -X, -O, -I ...
    executable = os.fsdecode(multiprocessing.spawn.get_executable() or sys.executable)
    return [
        executable,
        *flags,
        "-c",
        f"import sys; sys.path.insert(0, {HOME!r}); {code}",
    ]


def main(descriptor: int) -> None:
    """The nursery's entry point after exec."""
    serve(socket.socket(fileno=descriptor))


# --- in the program


class Nursery:
    """The program's handle on a nursery."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid = pid
        self.control = control
        self.users: weakref.WeakSet[shared_nursery] = weakref.WeakSet()

    def start_worker(self, duplex: socket.socket, lifeline: socket.socket, fresh: bool) -> None:
        """Start a worker with its ends of the two sockets; OSError where the nursery has died."""
        # One sendmsg of one byte: it arrives whole, also when two threads start workers at the same time.
        socket.send_fds(self.control, [EXEC if fresh else FORK], [duplex.fileno(), lifeline.fileno()])

    def close(self) -> None:
        """Let it go, with every worker it still has, and wait for its end."""
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
    """A nursery in a new interpreter: nothing of this program's state."""
    here, there = socket.socketpair()
    number = 4 if there.fileno() == 3 else 3
    environment = {**os.environ, **ONE_THREAD}
    arguments = interpreter_arguments(f"from accelgrad.utils.data.nursery import main; main({number})")
    actions = [
        (os.POSIX_SPAWN_DUP2, there.fileno(), number),
        (
            os.POSIX_SPAWN_OPEN,
            0,
            os.devnull,
            os.O_RDONLY,
            0,
        ),  # a script on standard input is not the workers' to read
    ]
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
    """A nursery forked from the program as it is: ``inherited`` reaches the workers without pickling."""
    used = [name for name in ("numba", "cupy") if _has_run(name)]
    if used:
        warnings.warn(
            f"DataLoader: multiprocessing_context='fork' after {' and '.join(used)} has run in this process"
            " is dangerous: a forked worker is terminated at its first parallel kernel, and cannot use the"
            " card at all; the default, forkserver, is safe",
            RuntimeWarning,
            stacklevel=2,
        )
    here, there = socket.socketpair()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # 3.12: "this process is multi-threaded"; the caller asked
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
    """Whether Numba's threads or CuPy's context exist in this process."""
    if name == "numba":
        parallel = sys.modules.get("numba.np.ufunc.parallel")
        return bool(getattr(parallel, "_is_initialized", False))
    return "cupy" in sys.modules and gpu.driver_version() > 0  # without a driver it is Python and no more


_lock = threading.RLock()
_shared: Nursery | None = None


class shared_nursery:
    """The program's one nursery for "forkserver" and "spawn": made for its first user, gone with its last."""

    def __init__(self) -> None:
        self.nursery: Nursery | None = None

    def get(self, renew: bool = False) -> Nursery:
        """The nursery; ``renew`` asks for another one, where it turned out to be dead."""
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
        """This user needs it no more."""
        with interrupts_held(), _lock:
            nursery, self.nursery = self.nursery, None
            if nursery is None:
                return
            nursery.users.discard(self)
            sweep_nursery()


def sweep_nursery() -> None:
    """Let the shared nursery go if its last user has."""
    global _shared
    with interrupts_held(), _lock:
        if _shared is not None and not list(_shared.users):
            nursery, _shared = _shared, None
            nursery.close()


def forget_in_child() -> None:
    """After a fork of the program: the nursery is the parent's."""
    global _shared, _lock
    if _shared is not None:
        _shared.control.close()
    _shared = None
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_in_child)
