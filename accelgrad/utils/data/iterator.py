"""One pass over a loader's dataset: without workers, and with them."""

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
SILENCE = 60.0  # without a timeout, seconds without a sign of any worker before a warning shows a stack


class LoaderIterator:
    """The base of both kinds of iterator: the order, the position in it, and the state to resume from."""

    def __init__(self, loader: Any, number: int, resume: dict[str, Any] | None) -> None:
        self.loader = loader
        self.number = number
        self.delivered = 0  # every batch before this one has been given out
        self.beyond: set[int] = set()  # and these after it too, where batches may come out of order
        self.finished = False
        if resume is not None:
            self.delivered, self.beyond = resume["delivered"], set(resume["beyond"])
        self.order = Order(loader, None if resume is None else resume["order"], self.delivered)

    def __iter__(self) -> LoaderIterator:
        return self

    def __len__(self) -> int:
        return len(self.loader)

    def state_dict(self) -> dict[str, Any]:
        """Return the state from which a later pass goes on after the batches that were given out."""
        return {
            "delivered": self.delivered,
            "beyond": sorted(self.beyond),
            "order": self.order.states,
            "number": self.number,
            "finished": self.finished,
        }

    def _total(self) -> str:
        """Return `` of 10`` for a loader of 10 batches, nothing for one without a length."""
        try:
            return f" of {len(self.loader)}"
        except TypeError:
            return ""

    def _check_length(self) -> None:
        """Warn, once for each loader, of an iterable dataset that gives more batches than its length says."""
        loader, length = self.loader, self.loader.declared_length
        if not loader.iterable or length is None or self.delivered < length or loader.warned_length:
            return
        loader.warned_length = True
        hint = "; each worker iterates over the whole dataset unless it takes its share by get_worker_info()"
        warnings.warn(
            f"Length of IterableDataset {type(loader.dataset).__name__} was reported to be {length} (when"
            " accessing len(dataloader)), but more batches have been fetched"
            f"{hint if loader.num_workers else ''}",
            stacklevel=3,
        )


class SimpleIterator(LoaderIterator):
    """One pass without workers: the program fetches each batch when it is asked for."""

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
        # Fetch the next batch.
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
        # Give it out.
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
        """Return the indices of the next batch, which counts as given out from here on."""
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
    """One pass with workers: tasks are sent ahead, and their results given out in order (or as they come).

    A task is a batch of indices; it is numbered from 0 in each epoch.  An interrupt may end ``next()``
    anywhere, and the next call goes on with the same batch: see the note in pool.py.
    """

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
        # Workers: a pool that waited for this pass, or a new one.
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
        """Take over a saved position; return what each worker has to be told about it."""
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
        """Send tasks until every worker has ``prefetch_factor``; ``more``: batches about to be given out."""
        order = self.order
        while not self.exhausted and self.sent - self.delivered - len(self.beyond) < self.limit + more:
            task = self.sent
            nothing: deque[Any] = deque()
            # A stream: the next worker that has samples left gets the task.
            if self.loader.iterable:
                worker = self.worker_of.get(task, self._next_active())
                if worker is None:
                    self.exhausted = True
                    return
                self.worker_of[task] = worker
                self.pool.post(worker, task, self.stream)
                self.sent, self.turn = task + 1, (worker + 1) % self.workers
                continue
            # Otherwise: the sampler's next indices, which go to the task's worker.
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
            # A resumed pass may have given this batch out before its turn; so may one interrupted here.
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
        """Return the worker in turn, which makes random numbers repeatable; without order the least busy."""
        if self.loader.in_order:
            return task % self.workers
        in_flight = self.pool.in_flight()
        return min(
            range(self.workers), key=lambda w: (len(in_flight.get(w, ())), (w - self.turn) % self.workers)
        )

    def _next_active(self) -> int | None:
        """Return the next worker, from ``turn`` on, whose stream has not ended."""
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
        # Wait for the next result; one without a batch raises, or is passed over.
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
        # Make the batch of it, and ask for the ones to come.
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
        # Give it out.
        if self.loader.iterable:
            self._check_length()
        if self.loader._timeline.on:
            self._record(task, result, asked)
        self._warn()
        self._leave(task, result.handle.number)
        return batch

    def _await(self, asked: float) -> int | None:
        """Wait for the next result and return its task; None at the end of the epoch."""
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
        """Return the task whose result is to be given out next, if that is there."""
        task = self.delivered
        if self.loader.in_order or (self.loader.iterable and not self.pool.done):
            return task if task in self.pool.done or task in self.errors else None
        if self.pool.done:
            return next(iter(self.pool.done))
        return task if task in self.errors else None

    def _nothing_left(self) -> bool:
        """Return whether every batch of the epoch has been given out."""
        return self.exhausted and self.sent - self.delivered - len(self.beyond) <= 0

    def _late(self, opening: str) -> str:
        """Return the text for a batch that does not come: the worker that should send it, and its stack."""
        task = self.delivered
        worker = self.worker_of.get(task, 0)
        handle = self.pool.handles[worker]
        indices = handle.outstanding.get(task) if handle is not None else None
        name = f"worker {worker}" if handle is None else handle.name()
        what = f" ({describe(indices)})" if indices is not None else ""
        return f"{opening}: batch {task}{what} is with {name}, whose stack is\n{self.pool.stack_of(worker)}"

    def _settle(self, task: int, result: Any) -> None:
        """Settle a result without a batch: pass over a stream's end, raise for an exception or a death."""
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
            del error  # its traceback refers to this frame: a cycle that would keep the iterator alive

    def _leave(self, task: int, worker: int | None = None) -> None:
        """Note that the task has been given out; ``worker`` counts it as one of its stream's.

        From the first ``del`` on there is no call, so no interrupt can come in between.
        """
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
        """Make the batch of its packed form, over shared memory or over a copy of the message's bytes."""
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
        """Add the batch to the loader's timeline."""
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
        """Warn, once for each loader, of a batch that was too large for the shared memory."""
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
        """Raise the error for an iterator whose workers are gone."""
        if self.pool.pid != os.getpid():
            raise RuntimeError(
                f"this DataLoader iterator belongs to process {self.pool.pid}; a forked process makes its"
                " own: iter(loader)"
            )
        raise RuntimeError("this DataLoader iterator was closed; make a new one: iter(loader)")

    def _end(self) -> None:
        """End the pass, and give its workers back."""
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
            # The latest one before the worker's first batch that was not given out.
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
        """Return the worker's first task that was not given out, where tasks are given in turn."""
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
    """Return whether the batch is so small and was made so fast that sending it costs more than making it.

    With two of these in hand, the processes mostly wait for each other to wake up; with eight they hardly
    ever sleep, and hold less memory than with two batches of images.
    """
    head = result.head
    size = head.inline_size if head.slot < 0 or result.arena is None else result.arena.slot_size
    return size <= LIGHT and head.sent - head.started < QUICK


def _own_copy(frame: bytearray, start: int) -> Any:
    """Return the arrays' bytes of a message, in memory that is aligned for every dtype."""
    return np.frombuffer(frame, np.uint8, offset=start).copy()
