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

# Asks a worker for its Python stack.  A real-time signal, since users' code may handle SIGUSR1 and SIGUSR2.
STACK_SIGNAL = signal.SIGRTMIN + 7 if hasattr(signal, "SIGRTMIN") else getattr(signal, "SIGUSR2", None)
F_SETSIG = 10  # Linux; the fcntl module has no name for it
SNAPSHOT_EVERY = (
    0.05  # seconds between snapshots of the generators; a resumed epoch repeats no more than that
)
# Follows portable.GREETING in an interpreter that was started without a fork.
RUN_CALLED = "from accelgrad.utils.data.worker import run_called; run_called(*ends)"
ADVICE = "return arrays, tensors, numbers, strings and containers of them, or write a collate_fn that does"


class _PeerGone(Exception):
    """The program has closed its end."""


class _Reader:
    """Reads frames from the worker's end of a socket, which blocks."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.data = bytearray()
        self.descriptors: list[int] = []
        self.later: list[bytes] = []  # frames that came together with the first

    def frames(self, wait: bool) -> list[bytes]:
        """Return the complete frames that have arrived; with ``wait`` at least one."""
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
        """Read what has arrived, without waiting, and return its complete frames."""
        flag = getattr(socket, "MSG_DONTWAIT", None)
        if flag is None:  # Windows
            return []
        try:
            self._more(flag)
        except (BlockingIOError, InterruptedError):
            return []
        return self.frames(False)

    def next(self) -> bytes:
        """Wait for the next frame."""
        found, *self.later = self.frames(True)
        return found

    def _more(self, flags: int) -> None:
        """Read from the socket once; _PeerGone at its end."""
        try:
            data = self.sock.recv(transport.PIECE, flags)
        except ConnectionError:
            data = b""
        if not data:
            raise _PeerGone
        self.data += data

    def first(self, count: int) -> bytes:
        """Wait for the first frame, which comes with ``count`` descriptors."""
        if count:
            data, self.descriptors, _, _ = socket.recv_fds(self.sock, transport.PIECE, count)
            if not data:
                raise _PeerGone
            self.data += data
        return self.next()


# --- start


def run(duplex: socket.socket, lifeline: socket.socket, inherited: Any = None, called: bool = False) -> None:
    """Run the worker until its process ends; ``inherited`` is (first, parts) under start method "fork"."""
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
    """Run a worker that start method "spawn" has started, on two descriptors that it has inherited."""
    os.set_inheritable(duplex, False)
    os.set_inheritable(lifeline, False)
    run(socket.socket(fileno=duplex), socket.socket(fileno=lifeline))


def run_called(duplex: socket.socket, lifeline: socket.socket) -> None:
    """Run a worker that has connected back on two sockets of its own, see portable.py."""
    run(duplex, lifeline, called=True)


def _tie(lifeline: socket.socket, called: bool) -> None:
    """Make this process end with the program, however that ends and whatever is running here.

    Nobody writes to the lifeline.  When the program's end of it closes, the kernel sends SIGKILL to this
    process.  That needs no thread, and works while a C extension holds the interpreter's lock.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the program's business
    for name in ("SIGTERM", "SIGCHLD"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    # A thread does it where O_ASYNC can only send SIGIO, which is ignored by default; and where results go
    # through the lifeline, since the signal would come whenever there is room for more of them.
    if called or sys.platform != "linux":
        watch_lifeline(lifeline)
        return
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | fcntl.FASYNC)
    try:  # the program may have ended before the line above
        if lifeline.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
            os._exit(0)
    except BlockingIOError:
        pass


def keep_to_the_host() -> None:
    """Make the CPU the default device, and the card unusable, in this worker.

    Each worker on the card would need a context of its own there, and no batch could be sent from it.
    """
    os.environ["ACCELGRAD_WORKER"] = "1"  # the card cannot be used: gpu.status
    backend.set_default_device("cpu")


def limit_threads() -> None:
    """Set BLAS, OpenMP and our kernels to one thread: several workers run side by side already.

    A new interpreter has read it from its environment; a forked one has inherited loaded libraries, each of
    which is told here.
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
        pass  # the folder is gone; the program has to live with that too
    keep_to_the_host()


# --- life


class _Worker:
    """A running worker: its sockets, its tasks, the dataset, the memory for its batches."""

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
        self.plain = True  # plain pickle has been enough for all batches so far

    def live(self, inherited: Any, plain: bool) -> int:
        """Start up, then serve tasks until the program closes the socket; ``plain``: no descriptors come."""
        start = pickle.loads(memoryview(self.reader.first(0 if plain else 2))[1:])
        self.id: int = start["worker"]
        self.start(start, inherited)
        while True:
            # While there are tasks, only look whether the program has begun another epoch; otherwise wait.
            for data in self.reader.available() if self.tasks else self.reader.frames(True):
                self.take(data)
            if self.epoch_info is not None:
                self.begin_epoch()
            if self.tasks:
                self.work(*self.tasks.popleft())

    def start(self, start: dict[str, Any], inherited: Any) -> None:
        """Load the dataset; an exception that this raises is kept, and is the answer to every task."""
        # Where the dataset comes from, and where stacks are written to.
        if inherited is not None:
            first, parts = inherited
            stack: int | None = first["stack"]
        elif "inline" in start:
            data, stack = self.reader.next(), None
        else:
            payload, stack = self.reader.descriptors
        if stack is not None and STACK_SIGNAL is not None:
            faulthandler.register(STACK_SIGNAL, file=stack, all_threads=True)
        # The interpreter's settings, then a sign of life.
        limit_threads()
        if inherited is not None:
            keep_to_the_host()
        send_frame(self.sock, bytes((transport.HELLO,)), os.getpid().to_bytes(8, "little"))
        # The dataset and its functions.
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
        # Memory for batches, and the generators to seed.
        self.writer = SlotWriter(first["slots"], first["limit"], first["share"], self.announce, self.retire)
        if not first["shared"]:
            self.writer.limit = 0
        self.encoder = Encoder(self.writer)
        use_allocator(self.writer.allocate)
        self.generators = Generators((self.dataset, self.collate_fn))
        self.fresh = True

    def where(self, what: str) -> str:
        """Return the note to an exception: ``raised in DataLoader worker 1 (pid 4711) while ...``."""
        return f"raised in DataLoader worker {self.id} (pid {os.getpid()}) {what}"

    def dumps(self, value: Any) -> bytes:
        """Pickle for the program: by reference if possible, by value if it exists in this process only."""
        try:
            return pickle.dumps(value, 5)
        except Exception:
            return by_value(value)

    def announce(self, arena: Arena) -> None:
        """Tell the program of a new arena, and send its descriptor."""
        send_frame(self.sock, transport.new_arena_frame(arena), descriptors=[arena.descriptor])

    def retire(self, number: int) -> None:
        """Tell the program that an arena will not be used again."""
        send_frame(self.sock, bytes((transport.RETIRED,)), number.to_bytes(8, "little"))

    def take(self, data: bytes) -> None:
        """Store a message: a task, or the beginning of an epoch, which cancels earlier tasks."""
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
        """Begin the epoch: seed the generators, make a fetcher, and call worker_init_fn the first time."""
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
        """Go to the middle of an epoch: restore a snapshot of the generators, repeat the batches since."""
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
            return  # of an epoch that was broken off, or sent twice
        self.last_task = task
        if self.failure is not None:
            self.fail(epoch, task, self.failure)
            return
        # A snapshot of the generators from time to time, before the batch draws from them.
        writer = self.writer
        extra = b""
        started = time.perf_counter()
        if started - self.snapshot_at > SNAPSHOT_EVERY and not self.first["iterable"]:
            extra = pickle.dumps(self.generators.states(), 5)
            self.snapshot_at = started = time.perf_counter()
        # Fetch and collate the batch, and put it into shared memory.
        writer.begin()
        try:
            batch = self.fetcher.fetch(indices, self.seed)
            collated = time.perf_counter()
            arena, slot, specification, structure, parts = self.encode(batch)
        except StopIteration:  # raised by the end of an iterable dataset only
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
        # Send it.
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
        """Pack the batch; objects that plain pickle cannot send go by value, or are named in the error."""
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
