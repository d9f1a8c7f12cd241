"""One pass over a loader: without workers, and with them."""

from __future__ import annotations

import contextlib
import os
import time
import warnings
import weakref
from collections import deque
from typing import Any

import numpy as np

from accelgrad.utils.data import portable
from accelgrad.utils.data.faults import unpack_exception
from accelgrad.utils.data.fetch import IterableFetcher, Stream, describe, make_fetcher
from accelgrad.utils.data.handle import Batch, Ended, Failed, Lost
from accelgrad.utils.data.interrupts import interrupts_held
from accelgrad.utils.data.order import Order
from accelgrad.utils.data.pin import pin_memory
from accelgrad.utils.data.pool import Pool
from accelgrad.utils.data.seeding import Generators
from accelgrad.utils.data.timeline import BatchRecord
from accelgrad.utils.data.transport import RESULT, Decoder

__all__ = ["LoaderIterator", "SimpleIterator", "WorkersIterator"]

LIGHT, QUICK = 1 << 19, 1e-3  # bytes and seconds: see _is_light
SILENCE = 60.0  # seconds without a sign of a worker before a warning shows its stack, if there is no timeout


class LoaderIterator:
    """What both kinds of iterator have: the order, the position in it, and the state to resume from."""

    def __init__(self, loader: Any, number: int, resume: dict[str, Any] | None) -> None:
        self.loader = loader
        self.number = number
        self.delivered = 0  # every batch before this one has been given out
        self.beyond: set[int] = set()  # and these after it, where batches may come out of order
        self.finished = False
        if resume is not None:
            self.delivered, self.beyond = resume["delivered"], set(resume["beyond"])
        self.order = Order(loader, None if resume is None else resume["order"], self.delivered)

    def __iter__(self) -> LoaderIterator:
        return self

    def __len__(self) -> int:
        return len(self.loader)

    def state_dict(self) -> dict[str, Any]:
        """What :meth:`DataLoader.load_state_dict` needs to go on after the batches that were given out."""
        return {
            "delivered": self.delivered,
            "beyond": sorted(self.beyond),
            "order": self.order.states,
            "number": self.number,
            "finished": self.finished,
        }

    def _total(self) -> str:
        try:
            return f" of {len(self.loader)}"
        except TypeError:
            return ""

    def _check_length(self) -> None:
        """An iterable dataset that gives more than its length says is mostly sharded wrongly."""
        loader, length = self.loader, self.loader.declared_length
        if not loader.iterable or length is None or self.delivered < length or loader.warned_length:
            return
        loader.warned_length = True
        hint = "; each worker iterates over the whole dataset unless it takes its share by get_worker_info()"
        warnings.warn(
            f"Length of IterableDataset {type(loader.dataset).__name__} was reported to be {length} (when"
            f" accessing len(dataloader)), but more batches have been fetched"
            f"{hint if loader.num_workers else ''}",
            stacklevel=3,
        )


class SimpleIterator(LoaderIterator):
    """One pass in the program's own process."""

    def __init__(self, loader: Any, number: int, resume: dict[str, Any] | None) -> None:
        super().__init__(loader, number, resume)
        self.fetcher = make_fetcher(
            loader.dataset,
            loader.collate_fn,
            iterable=loader.iterable,
            batched=loader.batched,
            drop_last=loader.drop_last,
        )
        self.stream = Stream(loader.batch_size or 1, loader.batched)
        self.generators: Generators | None = None
        if resume is not None:
            if isinstance(self.fetcher, IterableFetcher):
                self.fetcher.skip(self.delivered * self.stream.count)
            self.generators = Generators((loader.dataset, loader.collate_fn))
            self.generators.restore(resume["main"])

    def __next__(self) -> Any:
        if self.finished:
            raise StopIteration
        loader = self.loader
        timeline = loader._timeline
        started = time.perf_counter()
        number, indices = self.delivered, self._next_indices()
        try:
            batch = self.fetcher.fetch(indices, self.order.seed)
        except StopIteration:
            self.finished = True
            raise
        except Exception as error:
            error.add_note(f"raised in batch {number}: {describe(indices)}")
            raise
        if loader.pin_memory:
            batch = pin_memory(batch)
        if loader.iterable:
            self._check_length()
        if timeline.on:
            fetched, now = self.fetcher.fetched, time.perf_counter()
            timeline.records.append(
                BatchRecord(
                    self.number, number, None, os.getpid(), started, fetched, now, now, now, started, now
                )
            )
        return batch

    def _next_indices(self) -> Any:
        """The indices of the next batch, which counts as given out from here on."""
        if self.loader.iterable:
            self.delivered += 1
            return self.stream
        try:
            indices = self.order.peek()
        except StopIteration:
            self.finished = True
            raise
        except Exception:
            self.order.error = None
            self.delivered += 1
            raise
        self.order.taken()
        self.delivered += 1
        return indices

    def state_dict(self) -> dict[str, Any]:
        if self.generators is None:
            self.generators = Generators((self.loader.dataset, self.loader.collate_fn))
        return {**super().state_dict(), "main": self.generators.states()}

    def close(self) -> None:
        """End this pass."""
        self.finished = True

    def __repr__(self) -> str:
        state = "finished" if self.finished else "no workers"
        return f"<DataLoader iterator: {self.delivered}{self._total()} batches delivered, {state}>"


class WorkersIterator(LoaderIterator):
    """One pass with worker processes."""

    def __init__(self, loader: Any, number: int, resume: dict[str, Any] | None) -> None:
        super().__init__(loader, number, resume)
        self.workers: int = loader.num_workers
        self.limit: int = loader.num_workers * loader.prefetch_factor
        self.deepest: int = loader.num_workers * loader.deepest
        self.sent = self.delivered  # tasks before this one have been sent
        self.exhausted = False  # the sampler has ended, or all workers' streams have
        self.worker_of: dict[int, int] = {}
        self.errors: dict[int, Exception] = {}  # batches that the sampler did not give
        self.given = [0] * self.workers  # batches that each worker's stream has given out
        self.active = [True] * self.workers
        self.turn = 0
        self.decoder = Decoder()
        self.stream = Stream(loader.batch_size or 1, loader.batched)
        self.earlier: dict[int, tuple[int, bytes]] = {}  # the snapshots that this pass was resumed from
        special = self._resume(resume) if resume is not None else {}
        staff = loader._staff
        supply = staff.supply(loader)
        with interrupts_held() if not portable.DIRECT else contextlib.nullcontext():
            pool: Pool = staff.take(loader, supply)
            self.pool = pool
            pool.owner = weakref.ref(self)
            self._finalizer = weakref.finalize(self, staff.put_back, pool)
            self._finalizer.atexit = False
        try:
            pool.begin_epoch({"seed": self.order.seed, "number": number}, special)
            self._fill()
        except BaseException:
            pool.close()
            raise

    def _resume(self, resume: dict[str, Any]) -> dict[int, dict[str, Any]]:
        if self.loader.iterable:
            self.given, self.active, self.turn = list(resume["given"]), list(resume["active"]), resume["turn"]
            return {w: {"skip": given * self.stream.count} for w, given in enumerate(self.given)}
        special = {}
        if resume["workers"] == self.workers and self.loader.in_order:
            for worker in range(self.workers):
                task, states = resume["snapshots"].get(worker, (worker, None))
                again = range(task, self.delivered, self.workers)
                special[worker] = {
                    "states": states,
                    "replay": [self.order.skipped[number] for number in again],
                }
                if states is not None:
                    self.earlier[worker] = (task, states)
        return special

    # --- sending

    def _fill(self, more: int = 0) -> None:
        """Send tasks until every worker has ``prefetch_factor`` of them; ``more``: batches about to be given
        out."""
        order = self.order
        while not self.exhausted and self.sent - self.delivered - len(self.beyond) < self.limit + more:
            task = self.sent
            nothing: deque[Any] = deque()
            if self.loader.iterable:
                worker = self.worker_of.get(task, self._next_active())
                if worker is None:
                    self.exhausted = True
                    return
                self.worker_of[task] = worker
                self.pool.post(worker, task, self.stream)
                self.sent, self.turn = task + 1, (worker + 1) % self.workers
                continue
            try:
                indices = order.peek()
            except StopIteration:
                self.exhausted = True
                return
            except Exception as error:
                self.errors[task] = error
                self.sent, order.error = task + 1, None
                continue
            worker = self.worker_of.get(task)
            if worker is None:
                worker = self._choose_worker(task)
            # A resumed pass may have given it out before its turn; so may one that was interrupted here.
            if task >= self.delivered and task not in self.beyond:
                self.worker_of[task] = worker
                self.pool.post(worker, task, indices)
            # An interrupt before this line sends the task twice, to the same worker, which notices.  The line
            # itself makes no call, and Python looks for interrupts at calls only.
            self.sent, self.turn, order.ahead, order.count = (
                task + 1,
                (worker + 1) % self.workers,
                nothing,
                task + 1,
            )

    def _choose_worker(self, task: int) -> int:
        """In turn, which makes every worker's random numbers repeatable; without order the least busy one."""
        if self.loader.in_order:
            return task % self.workers
        in_flight = self.pool.in_flight()
        return min(
            range(self.workers), key=lambda w: (len(in_flight.get(w, ())), (w - self.turn) % self.workers)
        )

    def _next_active(self) -> int | None:
        for step in range(self.workers):
            worker = (self.turn + step) % self.workers
            if self.active[worker]:
                return worker
        return None

    # --- receiving

    def __next__(self) -> Any:
        asked = time.perf_counter()
        if self.finished:
            raise StopIteration
        if self.pool.closed:
            self._refuse()
        while True:
            self._fill()
            task = self._await(asked)
            if task is None:
                self._end()
                raise StopIteration
            result = self.pool.done.get(task)
            if isinstance(result, Batch):
                break
            self._settle(task, result)
        try:
            batch = self._take_apart(result)
        except Exception as error:
            self._leave(task)
            error.add_note(f"while batch {task} of DataLoader {result.handle.name()} was unpickled")
            raise
        if self.loader.pin_memory:
            batch = pin_memory(batch)
        if self.limit < self.deepest and _is_light(result):
            self.limit = self.deepest
        self._fill(1)  # keeps the workers busy while the program works on this batch
        if self.loader.iterable:
            self._check_length()
        if self.loader._timeline.on:
            self._record(task, result, asked)
        self._warn()
        self._leave(task, result.handle.number)
        return batch

    def _await(self, asked: float) -> int | None:
        """The task whose result is next, once it is there; None at the end of the epoch."""
        pool, timeout = self.pool, self.loader.timeout
        quiet_since = asked
        while True:
            ready = self._next_ready()
            if ready is not None:
                return ready
            if self._nothing_left():
                return None
            if timeout > 0:
                rest = asked + timeout - time.perf_counter()
                pool.poll(rest)
                if rest <= 0 and self._next_ready() is None:
                    raise RuntimeError(self._late(f"DataLoader timed out after {timeout:g} seconds"))
            elif pool.poll(quiet_since + SILENCE - time.perf_counter()):
                quiet_since = time.perf_counter()
            elif time.perf_counter() - quiet_since >= SILENCE:
                warnings.warn(
                    self._late(f"DataLoader has heard nothing from its workers for {SILENCE:g} seconds"),
                    RuntimeWarning,
                    stacklevel=3,
                )
                quiet_since = time.perf_counter()

    def _next_ready(self) -> int | None:
        task = self.delivered
        if self.loader.in_order or (self.loader.iterable and not self.pool.done):
            return task if task in self.pool.done or task in self.errors else None
        if self.pool.done:
            return next(iter(self.pool.done))
        return task if task in self.errors else None

    def _nothing_left(self) -> bool:
        return self.exhausted and self.sent - self.delivered - len(self.beyond) <= 0

    def _late(self, opening: str) -> str:
        """The text for a batch that does not come: who should send it, and what that worker is doing."""
        task = self.delivered
        worker = self.worker_of.get(task, 0)
        handle = self.pool.handles[worker]
        indices = handle.outstanding.get(task) if handle is not None else None
        name = f"worker {worker}" if handle is None else handle.name()
        what = f" ({describe(indices)})" if indices is not None else ""
        return f"{opening}: batch {task}{what} is with {name}, whose stack is\n{self.pool.stack_of(worker)}"

    def _settle(self, task: int, result: Any) -> None:
        """A result without data: go on silently at a stream's end, raise for an exception or a death."""
        worker = self.worker_of.get(task, 0)
        if isinstance(result, Ended):
            self.active[worker] = False
            self._leave(task)
            return
        self._warn()
        counted: int | None = None
        if task in self.errors:
            error: BaseException = self.errors[task]
        elif isinstance(result, Failed):
            error, counted = unpack_exception(result.content), worker
        else:
            assert isinstance(result, Lost)
            what = (
                "its stream of samples ends here" if self.loader.iterable else f"batch {task} is lost with it"
            )
            error = RuntimeError(
                f"{result.reason}; {what}. The other batches follow; to see more, use num_workers=0"
            )
            if self.loader.iterable:
                self.active[worker] = False
        self._leave(task, counted)
        try:
            raise error
        finally:
            del error  # else its traceback, which holds this frame, would keep the iterator alive in a cycle

    def _leave(self, task: int, worker: int | None = None) -> None:
        """The task has been given out.  From the first ``del`` on there is no call, and so no room for an
        interrupt."""
        done, worker_of, errors = self.pool.done, self.worker_of, self.errors
        delivered, beyond = self.delivered, self.beyond
        if task == delivered:
            delivered += 1
            while delivered in beyond:
                delivered += 1
            if beyond:
                beyond = {later for later in beyond if later > delivered}
        else:
            beyond = beyond | {task}
        if task in done:
            del done[task]
        if task in worker_of:
            del worker_of[task]
        if task in errors:
            del errors[task]
        if worker is not None:
            self.given[worker] += 1
        self.delivered, self.beyond = delivered, beyond

    def _take_apart(self, result: Batch) -> Any:
        head, frame = result.head, result.frame
        start = RESULT.size
        middle = start + head.specification_size
        end = middle + head.structure_size
        if head.slot >= 0:
            if result.arena is None:
                result.arena = result.handle.arenas[head.arena]
            memory = result.arena.lease(head.slot, head.use, result.memory, result.handle.returned)
        else:
            memory = _own_copy(frame, end + head.extra_size) if head.inline_size else None
        return self.decoder.decode(memory, bytes(frame[start:middle]), bytes(frame[middle:end]))

    def _record(self, task: int, result: Batch, asked: float) -> None:
        head, handle = result.head, result.handle
        self.loader._timeline.records.append(
            BatchRecord(
                self.number,
                task,
                handle.number,
                handle.pid or 0,
                head.started,
                head.fetched,
                head.collated,
                head.sent,
                result.received,
                asked,
                time.perf_counter(),
            )
        )

    def _warn(self) -> None:
        """Tell of a batch over the budget, once for each loader."""
        if self.pool.warnings and not self.loader.warned_budget:
            self.loader.warned_budget = True
            warnings.warn(
                f"DataLoader: {self.pool.warnings[0]}. This is correct but slower; a smaller batch, fewer"
                " workers, a smaller prefetch_factor or a larger ACCELGRAD_SHM_LIMIT avoids it",
                RuntimeWarning,
                stacklevel=3,
            )

    # --- the ending

    def _refuse(self) -> None:
        if self.pool.pid != os.getpid():
            raise RuntimeError(
                f"this DataLoader iterator belongs to process {self.pool.pid}; a forked process makes its"
                " own: iter(loader)"
            )
        raise RuntimeError("this DataLoader iterator was closed; make a new one: iter(loader)")

    def _end(self) -> None:
        with interrupts_held():
            self.finished = True
            self._finalizer()
        if self.pool.closed:
            self.pool.done.clear()

    def close(self) -> None:
        """End this pass: within a second its workers are gone (persistent ones wait for the next)."""
        self._end()

    def state_dict(self) -> dict[str, Any]:
        snapshots = dict(self.earlier)
        for worker, taken in self.pool.snapshots.items():
            # the latest one before the worker's first batch that was not given out
            usable = [
                task
                for task in taken
                if task < self.delivered + self.workers and task <= self._first_open(worker)
            ]
            if usable:
                snapshots[worker] = (max(usable), taken[max(usable)])
                for task in [task for task in taken if task < max(usable)]:
                    del taken[task]
        return {
            **super().state_dict(),
            "workers": self.workers,
            "snapshots": snapshots,
            "given": list(self.given),
            "active": list(self.active),
            "turn": self.worker_of.get(self.delivered, self.turn),
        }

    def _first_open(self, worker: int) -> int:
        return self.delivered + (worker - self.delivered) % self.workers

    def __repr__(self) -> str:
        head = f"<DataLoader iterator: {self.delivered + len(self.beyond)}{self._total()} batches delivered"
        if self.finished or self.pool.closed:
            return f"{head}, {'finished' if self.finished else 'closed'}>"
        flight = {w: tasks for w, tasks in self.pool.in_flight().items() if tasks}
        text = "; ".join(f"worker {w}: {', '.join(map(str, tasks))}" for w, tasks in flight.items())
        count = sum(map(len, flight.values()))
        return f"{head}, {len(self.pool.done)} ready, {count} in flight{f' ({text})' if text else ''}>"


def _is_light(result: Batch) -> bool:
    """Whether the batch is so small and was made so fast that its passage costs more than its making.

    With two of such in hand the processes mostly wait for each other's waking up; with eight they hardly
    ever sleep, and hold less memory than with two batches of images.
    """
    head = result.head
    size = head.inline_size if head.slot < 0 or result.arena is None else result.arena.slot_size
    return size <= LIGHT and head.sent - head.started < QUICK


def _own_copy(frame: bytearray, start: int) -> Any:
    """The arrays' bytes of a message, in memory that is aligned for every dtype."""
    return np.frombuffer(frame, np.uint8, offset=start).copy()
