"""A worker process: takes tasks from its socket, fetches and collates, and sends each batch back."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import pickle
import signal
import socket
import sys
import time
from collections import deque
from typing import Any

from accelgrad import kernels
from accelgrad.arrays import backend
from accelgrad.utils.data import transport
from accelgrad.utils.data.allocation import use_allocator
from accelgrad.utils.data.faults import pack_exception, protocol5, unpicklable_error
from accelgrad.utils.data.fetch import IterableFetcher, describe, make_fetcher
from accelgrad.utils.data.info import WorkerInfo, set_worker_info
from accelgrad.utils.data.memory import Arena, SlotWriter
from accelgrad.utils.data.payload import ByValueTaker, by_value, load_inline, load_payload
from accelgrad.utils.data.portable import watch_lifeline
from accelgrad.utils.data.seeding import Generators
from accelgrad.utils.data.transport import Encoder, send_frame

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["RUN_CALLED", "STACK_SIGNAL", "run", "run_spawned"]

# Asks a worker for its Python stack.  A real-time signal: user code has its hands on SIGUSR1 and SIGUSR2.
STACK_SIGNAL = signal.SIGRTMIN + 7 if hasattr(signal, "SIGRTMIN") else getattr(signal, "SIGUSR2", None)
F_SETSIG = 10  # Linux; the fcntl module has no name for it
SNAPSHOT_EVERY = 0.05  # seconds between photographs of the generators: what a resumed epoch repeats at most
# Follows portable.GREETING in an interpreter that was started without a fork.
RUN_CALLED = "from accelgrad.utils.data.worker import run_called; run_called(*ends)"
ADVICE = "return arrays, tensors, numbers, strings and containers of them, or write a collate_fn that does"


class _PeerGone(Exception):
    """The program has closed its end."""


class _Reader:
    """Frames from the blocking end of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.data = bytearray()
        self.descriptors: list[int] = []
        self.later: list[bytes] = []  # frames that came together with the first

    def frames(self, wait: bool) -> list[bytes]:
        """The complete frames that are there; with ``wait`` at least one."""
        found, self.later = self.later, []
        while True:
            start = 0
            while len(self.data) - start >= 8:
                (length,) = transport.LENGTH.unpack_from(self.data, start)
                if len(self.data) - start - 8 < length:
                    break
                found.append(bytes(memoryview(self.data)[start + 8 : start + 8 + length]))
                start += 8 + length
            if start:
                del self.data[:start]
            if found or not wait:
                return found
            self._more(0)

    def available(self) -> list[bytes]:
        """The complete frames that are there, without waiting."""
        flag = getattr(socket, "MSG_DONTWAIT", None)
        if flag is None:  # Windows
            return []
        try:
            self._more(flag)
        except (BlockingIOError, InterruptedError):
            return []
        return self.frames(False)

    def next(self) -> bytes:
        """The next frame."""
        found, *self.later = self.frames(True)
        return found

    def _more(self, flags: int) -> None:
        try:
            data = self.sock.recv(transport.PIECE, flags)
        except ConnectionError:
            data = b""
        if not data:
            raise _PeerGone
        self.data += data

    def first(self, count: int) -> bytes:
        """The first frame, with ``count`` descriptors."""
        if count:
            data, self.descriptors, _, _ = socket.recv_fds(self.sock, transport.PIECE, count)
            if not data:
                raise _PeerGone
            self.data += data
        return self.next()


# --- start


def run(duplex: socket.socket, lifeline: socket.socket, inherited: Any = None, called: bool = False) -> None:
    """The worker's whole life; never returns.  ``inherited``: (first, parts) under start method "fork"."""
    code = 1
    try:
        _tie(lifeline, called)
        code = _Worker(duplex, lifeline if called else duplex).live(
            inherited, called or inherited is not None
        )
    except (_PeerGone, BrokenPipeError, ConnectionError):
        code = 0
    except SystemExit as end:  # sys.exit() in the dataset ends this worker; the program names the exit code
        if end.code is None or isinstance(end.code, int):
            code = end.code or 0
        else:
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass
        os._exit(code & 0xFF)


def run_spawned(duplex: int, lifeline: int) -> None:
    """Entry point of start method "spawn"."""
    os.set_inheritable(duplex, False)
    os.set_inheritable(lifeline, False)
    run(socket.socket(fileno=duplex), socket.socket(fileno=lifeline))


def run_called(duplex: socket.socket, lifeline: socket.socket) -> None:
    """Entry point of a worker that called back on two sockets of its own (see portable.py)."""
    run(duplex, lifeline, called=True)


def _tie(lifeline: socket.socket, called: bool) -> None:
    """End with the program, in whatever way it ends and whatever this process is doing.

    Nobody writes to the lifeline.  When the program's end closes the kernel sends SIGKILL to this process,
    which needs no thread and no cooperation of a C extension that holds the interpreter's lock.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the program's business
    for name in ("SIGTERM", "SIGCHLD"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    # Elsewhere O_ASYNC can only send SIGIO, which is ignored by default; and where results go through the
    # lifeline it would be sent whenever there is room for more of them.
    if called or sys.platform != "linux":
        watch_lifeline(lifeline)
        return
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | fcntl.FASYNC)
    try:  # the program may have gone before the line above
        if lifeline.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
            os._exit(0)
    except BlockingIOError:
        pass


def keep_to_the_host() -> None:
    """Whatever the program's default device is, new tensors and those of the dataset lie in host memory: each
    worker on the card would hold a context of it, and no batch could travel from there.
    """
    os.environ["ACCELGRAD_WORKER"] = "1"  # the card cannot be used: gpu.status
    backend.set_default_device("cpu")


def limit_threads() -> None:
    """One thread for BLAS, OpenMP and our kernels: the workers are the parallelism.

    A new interpreter read it from its environment; a forked one inherited loaded libraries, which are told
    one by one.
    """
    kernels.set_num_threads(1)
    try:
        with open("/proc/self/maps") as file:
            names = {line.split(None, 5)[5].strip() for line in file if ".so" in line}
    except (OSError, IndexError):
        return
    setters = {
        "openblas": [
            prefix + "openblas_set_num_threads" + suffix
            for prefix in ("scipy_", "")
            for suffix in ("64_", "")
        ],
        "libgomp": ["omp_set_num_threads"],
        "libiomp": ["omp_set_num_threads"],
        "libomp": ["omp_set_num_threads"],
        "libmkl_rt": ["MKL_Set_Num_Threads"],
    }
    for path in names:
        for part, functions in setters.items():
            if part in os.path.basename(path):
                try:
                    library = ctypes.CDLL(path)
                except OSError:
                    continue
                for function in functions:
                    if hasattr(library, function):
                        getattr(library, function)(1)
                        break


def prepare_interpreter(first: dict[str, Any]) -> None:
    """Make this interpreter resemble the program's, before the dataset's modules are imported."""
    sys.path[:] = first["path"]
    sys.argv[:] = first["argv"]
    os.environ.clear()
    os.environ.update(first["environ"])
    try:
        os.chdir(first["directory"])
    except OSError:
        pass  # the folder is gone; the program lives with it, too
    keep_to_the_host()


# --- life


class _Worker:
    """The state of a running worker."""

    def __init__(self, tasks: socket.socket, results: socket.socket) -> None:
        self.sock = results
        self.reader = _Reader(tasks)
        self.tasks: deque[tuple[int, int, Any]] = deque()
        self.epoch_info: dict[str, Any] | None = None
        self.failure: bytes | None = None  # why this worker cannot work at all
        self.epoch = -1
        self.seed = 0
        self.last_task = -1
        self.fetcher: Any = None
        self.snapshot_at = 0.0
        self.plain = True  # plain pickle has been enough so far

    def live(self, inherited: Any, plain: bool) -> int:
        """Start up, then serve tasks until the program closes the socket; ``plain``: no descriptors come."""
        start = pickle.loads(memoryview(self.reader.first(0 if plain else 2))[1:])
        self.id: int = start["worker"]
        self.start(start, inherited)
        while True:
            # With tasks in hand, look only whether the program has started another epoch in the meantime.
            for data in self.reader.available() if self.tasks else self.reader.frames(True):
                self.take(data)
            if self.epoch_info is not None:
                self.begin_epoch()
            if self.tasks:
                self.work(*self.tasks.popleft())

    def start(self, start: dict[str, Any], inherited: Any) -> None:
        """Take over the dataset; an exception in it is kept and answers every task."""
        if inherited is not None:
            first, parts = inherited
            stack: int | None = first["stack"]
        elif "inline" in start:
            data, stack = self.reader.next(), None
        else:
            payload, stack = self.reader.descriptors
        if stack is not None and STACK_SIGNAL is not None:
            faulthandler.register(STACK_SIGNAL, file=stack, all_threads=True)
        limit_threads()
        if inherited is not None:
            keep_to_the_host()
        send_frame(self.sock, bytes((transport.HELLO,)), os.getpid().to_bytes(8, "little"))
        try:
            if inherited is None:
                if "inline" in start:
                    first, load = load_inline(memoryview(data)[1:], prepare_interpreter)
                else:
                    first, load = load_payload(payload, start["size"], start["meta"], prepare_interpreter)
                    os.close(payload)
                parts = load()
        except Exception as error:
            self.failure = pack_exception(error, self.where("while it loaded the dataset"), self.dumps)
            self.writer = SlotWriter(1, None, 0.0, None, None)
            return
        self.first = first
        self.dataset, self.collate_fn, self.init = (
            parts["dataset"],
            parts["collate_fn"],
            parts["worker_init_fn"],
        )
        self.writer = SlotWriter(first["slots"], first["limit"], first["share"], self.announce, self.retire)
        if not first["shared"]:
            self.writer.limit = 0
        self.encoder = Encoder(self.writer)
        use_allocator(self.writer.allocate)
        self.generators = Generators((self.dataset, self.collate_fn))
        self.fresh = True

    def where(self, what: str) -> str:
        """``raised in DataLoader worker 1 (pid 4711) while ...``"""
        return f"raised in DataLoader worker {self.id} (pid {os.getpid()}) {what}"

    def dumps(self, value: Any) -> bytes:
        """Pickle for the program: by reference where possible, by value what exists in this process only."""
        try:
            return pickle.dumps(value, 5)
        except Exception:
            return by_value(value)

    def announce(self, arena: Arena) -> None:
        """Tell the program of a new arena; its descriptor goes along."""
        send_frame(self.sock, transport.new_arena_frame(arena), descriptors=[arena.descriptor])

    def retire(self, number: int) -> None:
        """Tell the program that an arena will not be used again."""
        send_frame(self.sock, bytes((transport.RETIRED,)), number.to_bytes(8, "little"))

    def take(self, data: bytes) -> None:
        """One message: a task, or the beginning of an epoch, which makes earlier tasks void."""
        content = pickle.loads(memoryview(data)[1:])
        if data[0] == transport.EPOCH:
            self.tasks.clear()
            self.epoch_info = content
            freed = content["freed"]
        else:
            epoch, task, indices, freed = content
            self.tasks.append((epoch, task, indices))
        for number, slot, use in freed:
            self.writer.returned(number, slot, use)

    def begin_epoch(self) -> None:
        """Seed the generators, call worker_init_fn the first time, and start the dataset anew."""
        info, self.epoch_info = self.epoch_info, None
        assert info is not None
        self.epoch, self.seed, self.last_task = info["epoch"], info["seed"], -1
        if self.failure is not None:
            return
        workers = self.first["workers"]
        set_worker_info(WorkerInfo(self.id, workers, self.seed + self.id, self.dataset))
        self.generators.seed(self.seed, info["stream"], info["number"])
        self.fetcher = make_fetcher(
            self.dataset,
            self.collate_fn,
            iterable=self.first["iterable"],
            batched=self.first["batched"],
            drop_last=self.first["drop_last"],
        )
        self.snapshot_at = time.perf_counter()
        try:
            if self.fresh and self.init is not None:
                self.init(self.id)
            self.fresh = False
            self.resume(info)
        except Exception as error:
            what = "in worker_init_fn" if self.fresh else "while it went back to where the epoch was left"
            self.failure = pack_exception(error, self.where(what), self.dumps)

    def resume(self, info: dict[str, Any]) -> None:
        """Go to the middle of an epoch: the generators as photographed, the batches since then once more."""
        if isinstance(self.fetcher, IterableFetcher):
            self.fetcher.skip(info.get("skip", 0))
            return
        if info.get("states") is not None:
            self.generators.restore(pickle.loads(info["states"]))
        for indices in info.get("replay", ()):
            self.writer.begin()
            try:
                self.fetcher.fetch(indices, self.seed)
            except Exception:
                pass  # it was reported when the epoch ran first
            self.writer.give_back()

    def work(self, epoch: int, task: int, indices: Any) -> None:
        """Answer one task: with the batch, the end of the stream, or an exception."""
        if epoch != self.epoch or task <= self.last_task:
            return  # left over from an epoch that was broken off, or asked twice
        self.last_task = task
        if self.failure is not None:
            self.fail(epoch, task, self.failure)
            return
        writer = self.writer
        extra = b""
        started = time.perf_counter()
        if started - self.snapshot_at > SNAPSHOT_EVERY and not self.first["iterable"]:
            extra = pickle.dumps(self.generators.states(), 5)
            self.snapshot_at = started = time.perf_counter()
        writer.begin()
        try:
            batch = self.fetcher.fetch(indices, self.seed)
            collated = time.perf_counter()
            arena, slot, specification, structure, parts = self.encode(batch)
        except StopIteration:  # only the end of an iterable dataset comes as that
            writer.give_back()
            send_frame(self.sock, bytes((transport.ENDED,)), pickle.dumps((epoch, task), 5))
            return
        except (SystemExit, _PeerGone, BrokenPipeError):
            raise
        except BaseException as error:
            writer.give_back()
            self.fail(
                epoch,
                task,
                pack_exception(error, self.where(f"in batch {task}: {describe(indices)}"), self.dumps),
            )
            return
        if arena < 0:
            writer.give_back()
        if arena < 0 and writer.over_budget is not None and self.first["shared"]:
            extra = pickle.dumps((pickle.loads(extra) if extra else None, writer.over_budget), 5)
            kind = transport.BATCH | transport.OVER_BUDGET
        else:
            kind = transport.BATCH
        times = (started, self.fetcher.fetched, collated, time.perf_counter())
        sizes = (len(specification), len(structure), len(extra), sum(map(len, parts)))
        head = transport.RESULT.pack(kind, epoch, task, arena, slot, writer.lend(), *times, *sizes)
        send_frame(self.sock, head, specification, structure, extra, *parts)
        writer.tidy()

    def encode(self, batch: Any) -> Any:
        """Take the batch apart; what plain pickle cannot send goes by value, and what nobody can is named."""
        try:
            if self.plain:
                return self.encoder.encode(batch)
        except Exception:
            self.plain = False
        self.encoder.pickler = ByValueTaker
        try:
            return self.encoder.encode(batch)
        except Exception as error:
            self.plain = True
            self.encoder.pickler = transport.Taker
            raise unpicklable_error(batch, "batch", error, ADVICE, protocol5(ByValueTaker)) from error

    def fail(self, epoch: int, task: int, content: bytes) -> None:
        """Report an exception in the place of a batch."""
        send_frame(self.sock, bytes((transport.FAILED,)), pickle.dumps((epoch, task, content), 5))
