"""The program's side of a set of workers: starts them, sends tasks, collects results, replaces dead ones.

Workers share nothing with each other, and nothing here waits for a particular one: one ``poll`` looks at all
sockets.

A KeyboardInterrupt may end any step here, and the program may still ask for the next batch.  Python delivers
it at calls only.  So values that belong together are computed first, and then stored by statements without a
call.  Work that remains after that is noted down (in ``orphans``, ``buried``, the frames of a channel), where
the next :meth:`Pool.post` or :meth:`Pool.poll` finds it; and each step may be done twice.
"""

from __future__ import annotations

import atexit
import marshal
import os
import socket
import sys
import time
import weakref
from collections import deque
from collections.abc import Iterable
from typing import Any

from accelgrad.utils.data import portable, transport
from accelgrad.utils.data.faults import exit_reason
from accelgrad.utils.data.handle import Batch, Ended, Failed, Handle, Lost, Stale, shut_down
from accelgrad.utils.data.interrupts import interrupts_held
from accelgrad.utils.data.memory import MappedArena, anonymous_file, shm_limit
from accelgrad.utils.data.nursery import (
    ONE_THREAD,
    Nursery,
    fork_nursery,
    interpreter_arguments,
    shared_nursery,
    sweep_nursery,
)
from accelgrad.utils.data.payload import Payload
from accelgrad.utils.data.portable import GREETING, READABLE, WRITABLE, call_worker, make_poller
from accelgrad.utils.data.transport import RESULT, Head
from accelgrad.utils.data.worker import RUN_CALLED, STACK_SIGNAL

__all__ = ["Pool", "Supply", "close_pools", "sweep"]

GRACE = 0.25  # seconds in which a worker may finish what it does when the loader is closed
LAST_WAIT = 0.5  # seconds for the kernel to end the killed ones


class Supply:
    """The things that a pool's workers need at their start: the pickled dataset, functions, settings.

    Pickling the dataset runs the user's code and may take long.  It can be interrupted: a supply owns nothing
    that would be left behind.
    """

    def __init__(self, workers: int, method: str, parts: dict[str, Any], settings: dict[str, Any]) -> None:
        limit = shm_limit(os.environ.get("ACCELGRAD_SHM_LIMIT"))
        self.first = {
            **settings,
            "workers": workers,
            "limit": None if limit is None else limit // workers,
            "share": 0.5 / workers,
            "shared": not portable.DIRECT,
        }
        self.parts = parts if method == "fork" else {}
        self.inline = b""  # the payload, where it cannot be a file
        self.payload: Payload | None = None
        if method == "fork":
            return
        first = {
            **self.first,
            "path": list(sys.path),
            "argv": list(sys.argv),
            "environ": {**os.environ, **ONE_THREAD},
            "directory": os.getcwd(),
        }
        if portable.DIRECT:
            self.inline = transport.frame(b"\0", Payload(first, parts).to_bytes())
        else:
            self.payload = Payload(first, parts).to_file()


class Pool:
    """``workers`` processes that serve one epoch after the other."""

    def __init__(self, workers: int, method: str, supply: Supply) -> None:
        self.pid = os.getpid()
        self.workers = workers
        self.method = method
        self.iterable: bool = supply.first["iterable"]
        self.epoch = -1
        # Streams that ended when their worker died, and the answer that still has to be given for it.
        self.gone: dict[int, Lost | None] = {}
        self.done: dict[int, Any] = {}  # task -> result, of the present epoch
        self.orphans: dict[int, tuple[int, Any]] = {}  # task of a dead worker -> its number, indices
        self.buried: list[Handle] = []  # dead workers whose sockets are not closed yet
        # worker -> task -> the states of its generators before that task
        self.snapshots: dict[int, dict[int, bytes]] = {number: {} for number in range(workers)}
        self.warnings: list[str] = []
        self.generation = [0] * workers
        self.poller = make_poller()
        self.by_descriptor: dict[int, Handle] = {}
        self.handles: list[Handle | None] = [None] * workers
        self.epoch_message: dict[str, Any] = {}
        self.user: shared_nursery | None = None
        self.nursery: Nursery | None = None
        self.supply = supply
        self.owner: weakref.ref[Any] | None = None  # the iterator that uses it, or who keeps it for the next
        self.direct = portable.DIRECT
        self.closed = self.ended = False
        self.stack = -1
        _live.add(self)
        try:
            if not self.direct:
                self.stack = anonymous_file(0)
            if method == "fork":
                self.nursery = fork_nursery(({**supply.first, "stack": self.stack}, supply.parts))
            elif not self.direct:
                self.user = shared_nursery()
                self.user.get()
            for number in range(workers):
                self._spawn(number)
        except BaseException:
            self.close()
            raise

    # --- starting

    def _spawn(self, number: int) -> Handle:
        """Start worker ``number``, anew if the one before died."""
        if self.closed:
            self._closed_by_another_thread()
        if self.direct:  # takes too long to hold back a Ctrl-C
            return self._employ_or_end(number, self._spawn_directly(number))
        with interrupts_held():
            return self._employ_or_end(number, self._spawn_by_nursery(number))

    def _employ_or_end(self, number: int, handle: Handle) -> Handle:
        """Take a started worker into the pool, or end it if that fails."""
        try:
            self._employ(number, handle)
        except BaseException:
            if self.handles[number] is not handle:
                self._let_go(handle)
            raise
        return handle

    def _employ(self, number: int, handle: Handle) -> None:
        """Watch a worker's sockets, and tell it of the epoch that is running."""
        for descriptor in handle.descriptors:
            self.by_descriptor[descriptor] = handle
        self.poller.register(handle.descriptors[1], READABLE)
        self.generation[number] += 1
        if self.epoch >= 0:
            stream = number + self.workers * (self.generation[number] - 1)
            message = {**self.epoch_message, "stream": stream, "freed": []}
            handle.channel.post(transport.pickled(transport.EPOCH, message))
        self._watch(handle)
        self.handles[number] = handle

    def _spawn_by_nursery(self, number: int) -> Handle:
        """Let the nursery start a worker on one end of two pairs of sockets, and keep the other end."""
        ours, theirs = socket.socketpair()
        our_line, their_line = socket.socketpair()
        try:
            self._start_by_nursery(theirs, their_line)
            start = {"worker": number}
            if payload := self.supply.payload:
                start |= {"size": payload.size, "meta": len(payload.meta)}
                descriptors = [payload.descriptor, self.stack]
                socket.send_fds(ours, [transport.pickled(transport.START, start)], descriptors)
            else:
                ours.sendall(transport.pickled(transport.START, start))
            return Handle(number, ours, our_line, direct=False)
        except BaseException:
            ours.close()
            our_line.close()
            raise
        finally:
            theirs.close()
            their_line.close()

    def _spawn_directly(self, number: int) -> Handle:
        """Start a worker as a process of our own, see portable.py."""
        command = interpreter_arguments(GREETING + RUN_CALLED)
        duplex, lifeline, process = call_worker(command, {**os.environ, **ONE_THREAD})
        try:
            handle = Handle(number, duplex, lifeline, direct=True)
            handle.process = process
            start = transport.pickled(transport.START, {"worker": number, "inline": True})
            handle.channel.post(start + self.supply.inline)  # the rest follows while we poll
        except BaseException:
            duplex.close()
            lifeline.close()
            process.kill()
            process.wait()
            raise
        return handle

    def _start_by_nursery(self, duplex: socket.socket, lifeline: socket.socket) -> None:
        """Send the worker's ends of the sockets to the nursery; to a new one if the old one is dead."""
        if self.user is None:
            assert self.nursery is not None
            self.nursery.start_worker(duplex, lifeline, fresh=False)
            return
        try:
            self.user.get().start_worker(duplex, lifeline, fresh=self.method == "spawn")
        except OSError:  # somebody killed the nursery
            self.user.get(renew=True).start_worker(duplex, lifeline, fresh=self.method == "spawn")

    def worker(self, number: int) -> Handle:
        """Return the handle of worker ``number``, which is started again if it has died."""
        handle = self.handles[number]
        return self._spawn(number) if handle is None else handle

    def begin_epoch(self, message: dict[str, Any], special: dict[int, dict[str, Any]]) -> None:
        """Drop everything of the epoch before, and begin a new one; ``special``: more for single workers."""
        stale, self.done, self.gone, self.orphans = self.done, {}, {}, {}
        self.snapshots = {number: {} for number in range(self.workers)}
        self.epoch += 1
        for number in range(self.workers):
            handle = self.worker(number)
            handle.outstanding.clear()
            freed = handle.freed()
            told = len(freed)
            freed += [
                (batch.head.arena, batch.head.slot, batch.head.use)
                for batch in stale.values()
                if isinstance(batch, Batch) and batch.handle is handle and not batch.memory
            ]
            self.epoch_message = {**message, "epoch": self.epoch}
            content = {**self.epoch_message, **special.get(number, {}), "stream": number, "freed": freed}
            handle.channel.post(transport.pickled(transport.EPOCH, content))
            handle.told(told)
            self._watch(handle)

    def post(self, number: int, task: int, indices: Any) -> None:
        """Give a worker a task; a caller that was interrupted may do it again."""
        if self.orphans:  # they come first: a worker ignores a task with a lower number than its last one
            self._adopt()
        if task in self.done:
            return
        if number in self.gone:  # a successor would begin its share of the stream anew
            end = self.gone[number] or Ended()
            self.done[task], self.gone[number] = end, None
            return
        self._send(number, task, indices)

    def _send(self, number: int, task: int, indices: Any) -> None:
        """Send a task, together with the slots of memory that the worker may use again."""
        handle = self.worker(number)
        handle.outstanding[task] = indices
        freed = handle.freed()
        handle.channel.post(transport.pickled(transport.TASK, (self.epoch, task, indices, freed)))
        handle.told(len(freed))
        if handle.channel.outbox:
            self._watch(handle)

    def _adopt(self) -> None:
        """Send the tasks of dead workers to their successors."""
        while self.orphans:
            task, (number, indices) = next(iter(self.orphans.items()))
            self._send(number, task, indices)
            self.orphans.pop(task, None)

    def _watch(self, handle: Handle) -> None:
        """Watch a worker's socket for results, and while something waits to be sent, for room."""
        writable = WRITABLE if handle.channel.outbox else 0
        events = writable if handle.direct else READABLE | writable  # nothing comes back on a direct one
        if events:
            self.poller.register(handle.descriptors[0], events)
        else:
            self._unwatch(handle.descriptors[0])

    def _unwatch(self, descriptor: int) -> None:
        """Stop watching a socket."""
        try:
            self.poller.unregister(descriptor)
        except (KeyError, ValueError):  # it was not watched
            pass

    # --- receiving

    def poll(self, seconds: float | None) -> bool:
        """Wait for a sign of any worker, at most ``seconds`` (None: for ever); True if something happened."""
        if self._finish_interrupted():
            return True
        ready = self.poller.poll(None if seconds is None else max(0.0, seconds) * 1000)
        if self.closed:
            self._closed_by_another_thread()
        # Whose they are is looked up before anything is done: a successor may get the same descriptors.
        events = [(self.by_descriptor.get(descriptor), descriptor, event) for descriptor, event in ready]
        for handle, descriptor, event in events:
            if handle is None or handle.dead is not None:
                continue
            if event & WRITABLE and handle.channel.flush():
                self._watch(handle)
            if descriptor == handle.descriptors[1] and not handle.direct:
                handle.channel.receive(drain=True)
                handle.channel.ended = True
            elif event & ~WRITABLE and descriptor == handle.channel.source.fileno():
                handle.channel.receive()
            self._handle_frames(handle)
            if handle.channel.ended:
                self._bury(handle)
        return bool(ready)

    def _finish_interrupted(self) -> bool:
        """Do the work that an interrupt has left undone; True if that has brought results."""
        while self.buried:
            self._let_go(self.buried[-1])
            self.buried.pop()
        if self.orphans:
            self._adopt()
        found = False
        for handle in self.handles:
            if handle is None:
                continue
            channel = handle.channel
            if channel.outbox:
                self._watch(handle)
            if channel.inbox:
                channel.cut()
            if channel.frames:
                self._handle_frames(handle)
                found = True
        return found

    def _closed_by_another_thread(self) -> None:
        """Raise the error for a pool that was closed while this thread waited."""
        while _exiting:  # a daemon thread that waits for a batch while the interpreter ends: it waits on
            time.sleep(1)
        raise RuntimeError("this DataLoader iterator was closed by another thread while it waited")

    def _handle_frames(self, handle: Handle) -> None:
        """Handle the frames that a worker has sent, each taken off the list when it is done."""
        frames = handle.channel.frames
        while frames:
            self._handle_frame(handle, frames[0])  # may be done twice
            frames.popleft()

    def _handle_frame(self, handle: Handle, frame: bytearray) -> None:
        """Store the result, or do what else the frame says."""
        kind = frame[0]
        if kind & ~transport.OVER_BUDGET == transport.BATCH:
            head = Head._make(RESULT.unpack_from(frame))
            epoch, task = head.epoch, head.task
            if epoch != self.epoch or task not in handle.outstanding:
                if epoch != self.epoch and head.slot >= 0:
                    handle.returned.append(Stale(head.arena, head.slot, head.use))
                return
            result: Any = Batch(handle, frame, head)
            if head.extra_size:
                self._take_extra(handle, head, frame)
            self.done[task] = result  # no call from here to the next line, and so no interrupt
            del handle.outstanding[task]
        elif kind in (transport.FAILED, transport.ENDED):
            epoch, task, *content = transport.unpickled(frame)
            if epoch == self.epoch and task in handle.outstanding:
                result = Failed(*content) if kind == transport.FAILED else Ended()
                self.done[task] = result
                del handle.outstanding[task]
        elif kind == transport.HELLO:
            handle.pid = int.from_bytes(frame[1:9], "little")
        elif kind == transport.ARENA:
            number, slot_size, slots = marshal.loads(memoryview(frame)[1:])
            if number not in handle.arenas:
                descriptor, *rest = handle.channel.descriptors
                arena = MappedArena(number, slot_size, slots, descriptor)
                later, spent = deque(rest), [*handle.channel.spent, descriptor]
                handle.arenas[number] = arena
                handle.channel.descriptors, handle.channel.spent = later, spent
            handle.channel.close_spent()
        elif kind == transport.RETIRED:
            handle.arenas.pop(int.from_bytes(frame[1:9], "little"), None)

    def _take_extra(self, handle: Handle, head: Head, frame: bytearray) -> None:
        """Keep a snapshot of the worker's generators, and a warning, that came with a batch."""
        task, start = head.task, RESULT.size + head.specification_size + head.structure_size
        extra = bytes(memoryview(frame)[start : start + head.extra_size])
        if head.kind & transport.OVER_BUDGET:
            snapshot, reason = transport.unpickled(b"\0" + extra)
            extra = b"" if snapshot is None else transport.repickled(snapshot)
            self.warnings.append(f"{handle.name()} sent batch {task} through its socket instead: {reason}")
        if extra:
            self.snapshots[handle.number][task] = extra

    def _bury(self, handle: Handle) -> None:
        """Note that a worker has died: its present task is lost, the others go to its successor."""
        if self.handles[handle.number] is not handle:
            self._let_go(handle)
            return
        status = handle.exit_status()
        if status is None:
            shut_down(handle.lifeline, socket.SHUT_WR)  # it lives, but its socket is closed: end it
        reason = exit_reason(status)
        number, done, gone, orphans = handle.number, dict(self.done), dict(self.gone), dict(self.orphans)
        waiting = sorted(task for task in handle.outstanding if task not in done)
        if waiting:
            done[waiting[0]] = Lost(f"DataLoader {handle.name()} {reason}")
        if self.iterable:
            gone[number] = None if waiting else Lost(f"DataLoader {handle.name()} {reason}")
            done.update((task, Ended()) for task in waiting[1:])
        else:
            orphans.update((task, (number, handle.outstanding[task])) for task in waiting[1:])
            orphans = {task: orphans[task] for task in sorted(orphans) if task not in done}
        buried = [*self.buried, handle]
        # All or nothing: no call, and so no interrupt, from here to the last of these lines.
        handle.dead = reason
        self.done, self.gone, self.orphans, self.buried = done, gone, orphans, buried
        self.handles[number] = None
        self._finish_interrupted()

    def _let_go(self, handle: Handle) -> None:
        """Close the sockets of a dead worker."""
        for descriptor in handle.descriptors:
            if self.by_descriptor.get(descriptor) is handle:
                self._unwatch(descriptor)
                self.by_descriptor.pop(descriptor, None)
        handle.close()

    # --- looking

    def stack_of(self, number: int) -> str:
        """Return the Python stack of a worker as text, whatever it is doing."""
        handle = self.handles[number]
        if self.stack < 0 or STACK_SIGNAL is None:
            return "(not to be had on this system)"
        if handle is None or handle.pid is None:
            return "(the worker has not finished starting)"
        poller = make_poller()
        poller.register(handle.lifeline, READABLE)
        if poller.poll(0):
            return "(the worker has ended)"
        os.ftruncate(self.stack, 0)
        os.lseek(self.stack, 0, os.SEEK_SET)
        try:
            os.kill(handle.pid, STACK_SIGNAL)
        except ProcessLookupError:
            return "(the worker has ended)"
        size, deadline = 0, time.monotonic() + 0.3
        while time.monotonic() < deadline:
            time.sleep(0.005)
            now = os.fstat(self.stack).st_size
            if now and now == size:
                break
            size = now
        text = os.pread(self.stack, 1 << 16, 0).decode(errors="replace").rstrip()
        return text or "(the worker did not answer: it hangs in the system)"

    def in_flight(self) -> dict[int, list[int]]:
        """Return the tasks that each worker has not answered yet."""
        return {h.number: sorted(h.outstanding) for h in self.handles if h is not None}

    def detach_leases(self) -> None:
        """Keep all memory that is leased now as it is, for a fork of this process uses it too."""
        for handle in self.handles:
            if handle is not None:
                for arena in handle.arenas.values():
                    arena.keep_leased()

    def forget(self) -> None:
        """Close the descriptors that a fork of the program has inherited, and leave the workers alone."""
        self.closed = True
        for handle in self.handles:
            if handle is not None:
                handle.lifeline.close()
                handle.channel.sock.close()
        if self.nursery is not None:
            self.nursery.control.close()

    def close(self) -> None:
        """End all workers within a second, whatever they are doing, and release everything."""
        close_pools([self])


def close_pools(pools: Iterable[Pool]) -> None:
    """End the workers of all pools together: ask them, wait a little, then let the kernel kill the rest."""
    with interrupts_held():
        _close([pool for pool in pools if not pool.ended and pool.pid == os.getpid()], GRACE)


def _close(pools: list[Pool], grace: float) -> None:
    """End the workers of ``pools``, which get ``grace`` seconds to finish what they do."""
    # Ask every worker to end.
    for pool in pools:
        pool.closed = True
    handles = [handle for pool in pools for handle in pool.handles if handle is not None]
    others = [[*pool.by_descriptor.values(), *pool.buried] for pool in pools]
    handles += {id(handle): handle for more in others for handle in more if handle not in handles}.values()
    for handle in handles:
        shut_down(handle.channel.sock, socket.SHUT_RDWR)
    # Kill those that do not.
    waiting = _wait_for_ends(handles, grace)
    for handle in waiting:
        shut_down(handle.lifeline, socket.SHUT_WR)  # this is data for the kernel's O_ASYNC: SIGKILL
    _wait_for_ends(waiting, LAST_WAIT)
    # Release what the pools have.
    for handle in handles:
        handle.close()
    for pool in pools:
        if pool.nursery is not None:
            pool.nursery.close()
        if pool.user is not None:
            pool.user.release()
        if pool.supply.payload is not None:
            pool.supply.payload.close()
        if pool.stack >= 0:
            descriptor, pool.stack = pool.stack, -1
            os.close(descriptor)
        pool.handles = [None] * pool.workers
        pool.by_descriptor.clear()
        pool.buried.clear()
        _live.discard(pool)
        pool.ended = True


def _wait_for_ends(handles: list[Handle], seconds: float) -> list[Handle]:
    """Wait until every worker has ended, at most ``seconds``; return those that have not."""
    poller, left, direct = make_poller(), {}, []
    for handle in handles:
        if handle.lifeline.fileno() < 0:
            continue
        if handle.direct:
            direct.append(handle)
            continue
        left[handle.lifeline.fileno()] = handle
        poller.register(handle.lifeline, READABLE)
    deadline = time.monotonic() + seconds
    while left and (rest := deadline - time.monotonic()) > 0:
        for descriptor, _ in poller.poll(rest * 1000):
            left.pop(descriptor, None)
            poller.unregister(descriptor)
    return [*left.values(), *(handle for handle in direct if not handle.ends_before(deadline))]


_live: set[Pool] = set()  # pools whose workers have not been ended


def sweep() -> None:
    """Close pools that nobody uses any more; their finalizer, which runs only once, was interrupted."""
    close_pools([pool for pool in list(_live) if pool.owner is not None and pool.owner() is None])
    sweep_nursery()


_exiting = False


@atexit.register
def _close_all() -> None:
    """End all workers when the interpreter ends."""
    global _exiting
    _exiting = True
    close_pools(list(_live))


def _before_fork() -> None:
    """Keep leased memory as it is: the program is about to be forked."""
    for pool in list(_live):
        pool.detach_leases()


def _in_child() -> None:
    """Let go of the parent's pools in a fork of the program."""
    for pool in list(_live):
        pool.forget()
    _live.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_in_child)
