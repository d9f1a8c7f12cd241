"""Messages between the program and a worker: frames on a socket, and batches packed into bytes and arrays.

A frame is a length of 8 bytes, one byte that says the frame's kind, and the content.  A batch is sent in
three parts: its *structure*, pickled with the arrays left out (protocol 5); the *specification* of the arrays
(dtype, shape, offset); and the arrays' bytes.  These lie in a slot of shared memory, or at the end of the
frame where they are few or memory is short.
"""

from __future__ import annotations

import io
import marshal
import math
import os
import pickle
import socket
import struct
from collections import deque
from typing import Any, NamedTuple

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.utils.data.interop import CPU, Tensor, wrap
from accelgrad.utils.data.memory import ALIGNMENT, Arena, SlotWriter, round_up

__all__ = ["Channel", "Decoder", "Encoder", "Head", "send_frame"]

LENGTH = struct.Struct("<Q")
RESULT = struct.Struct("<BqqiiQddddIIIQ")  # the fields of Head
HELLO, ARENA, RETIRED, BATCH, FAILED, ENDED = range(6)  # kinds of frames from a worker
START, TASK, EPOCH = range(10, 13)  # kinds of frames to a worker
OVER_BUDGET = 0x80  # added to BATCH where the batch had to travel in its message: `extra` says why
# A program that set SIGPIPE to its default must not die of a dead worker.
NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
PIECE = 1 << 16
ANCILLARY = socket.CMSG_SPACE(4 * 4) if hasattr(socket, "CMSG_SPACE") else 0
SIMPLE_KINDS = "biufcmMSUV"


class Head(NamedTuple):
    """The fixed part of a BATCH frame; four variable parts follow it, in the order of the size fields."""

    kind: int
    epoch: int
    task: int
    # Where the arrays' bytes lie: a slot of an arena, lent under a number; -1 where they follow in the frame.
    arena: int
    slot: int
    use: int
    # When the worker did what, in seconds of time.perf_counter().
    started: float
    fetched: float
    collated: float
    sent: float
    # How many bytes each variable part has.
    specification_size: int
    structure_size: int
    extra_size: int
    inline_size: int


def send_frame(sock: socket.socket, *parts: Any, descriptors: list[int] | None = None) -> None:
    """Send one frame, waiting as long as it takes."""
    total = sum(len(part) for part in parts)
    head = LENGTH.pack(total)
    if total < PIECE:
        parts = (b"".join((head, *parts)),)
    else:
        parts = (head, *parts)
    if descriptors:
        first = parts[0]
        sent = socket.send_fds(sock, [first], descriptors)
        parts = (memoryview(first)[sent:], *parts[1:])
    for part in parts:
        sock.sendall(part, NO_SIGNAL)


class Channel:
    """The program's end of a worker's socket: it never blocks, and an interrupt costs no data.

    Python delivers a KeyboardInterrupt between two bytecodes, for instance after ``recv`` has returned and
    before its result is stored.  So one call in C (``extend(map(recv, ...))``) takes the data from the socket
    into ``inbox``, and every later step can be repeated.
    """

    def __init__(self, sock: socket.socket, source: socket.socket | None = None) -> None:
        self.sock = sock  # for sending
        self.source = source = sock if source is None else source  # for receiving
        sock.setblocking(False)
        source.setblocking(False)
        self.inbox: list[tuple[Any, ...]] = []  # (data, ancillary data, ...) as received
        self.frames: deque[bytearray] = deque()
        self.descriptors: deque[int] = deque()  # one for each ARENA frame, in their order
        self.spent: list[int] = []  # descriptors to be closed
        self.outbox: deque[tuple[Any, list[int]]] = deque()
        self.wanted = 0  # bytes that complete the frame at the beginning of the inbox
        self.ended = False
        self._passes_descriptors = hasattr(source, "recvmsg")

    def receive(self, drain: bool = False) -> bool:
        """Read what has arrived; True if at least one complete frame is waiting.

        With ``drain`` it reads everything that a peer has sent before its end.
        """
        size = PIECE if self.wanted < PIECE else 1 << 20
        while not self.ended:
            try:
                if self._passes_descriptors:
                    self.inbox.extend(map(self.source.recvmsg, (size,), (ANCILLARY,)))
                else:
                    self.inbox.extend(zip(map(self.source.recv, (size,)), ((),)))  # noqa: B905
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                self.ended = True
                break
            got = len(self.inbox[-1][0])
            if not got:
                self.ended = True
            elif got < size and not drain and not self.inbox[-1][1]:
                break  # fewer bytes than asked for, and no descriptor: nothing more has arrived
        self.cut()
        return bool(self.frames)

    def cut(self) -> None:
        """Move complete frames from ``inbox`` to ``frames``, in one step that no interrupt can divide."""
        if not self.inbox or sum(len(item[0]) for item in self.inbox) < self.wanted:
            return
        if len(self.inbox) == 1:
            data, ancillary = self.inbox[0][:2]
            whole = len(data) >= LENGTH.size and LENGTH.size + LENGTH.unpack_from(data)[0] == len(data)
            if whole and not ancillary:  # usually one frame comes, and nothing else
                frames, nothing = self.frames.copy(), self.inbox[1:]
                frames.append(bytearray(memoryview(data)[LENGTH.size :]))
                self.inbox, self.frames, self.wanted = nothing, frames, LENGTH.size
                return
        else:
            data = b"".join(item[0] for item in self.inbox)
        start, wanted, new = 0, LENGTH.size, []
        while len(data) - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(data, start)
            wanted = LENGTH.size + length
            if len(data) - start < wanted:
                break
            new.append(bytearray(memoryview(data)[start + LENGTH.size : start + wanted]))
            start, wanted = start + wanted, LENGTH.size
        arrived = [descriptor for item in self.inbox for descriptor in _descriptors(item[1])]
        rest = [(data[start:], ())] if start < len(data) else []
        frames, descriptors = self.frames + deque(new), self.descriptors + deque(arrived)
        self.inbox, self.frames, self.descriptors, self.wanted = rest, frames, descriptors, wanted

    def post(self, data: bytes) -> None:
        """Queue one frame and send what the socket takes."""
        self.outbox.append((data, []))
        self.flush()

    def flush(self) -> bool:
        """Send what the socket takes; True when nothing is left."""
        while self.outbox:
            data, sent = self.outbox[0]
            done = sum(sent)
            if done < len(data):
                try:
                    sent.extend(map(self.sock.send, (memoryview(data)[done:],), (NO_SIGNAL,)))
                except (BlockingIOError, InterruptedError):
                    return False
                except OSError:  # the worker is dead; its end of file says so
                    self.outbox.clear()
                    return True
                continue
            self.outbox.popleft()
        return True

    def close_spent(self) -> None:
        """Close the descriptors in ``spent``; each is taken off the list and closed within one call in C."""
        while self.spent:
            any(map(os.close, map(self.spent.pop, (-1,))))

    def close(self) -> None:
        """Close the sockets, and the descriptors that arrived and were not used."""
        self.sock.close()
        self.source.close()
        spent = [*self.spent, *self.descriptors]
        spent += [descriptor for item in self.inbox for descriptor in _descriptors(item[1])]
        self.spent, self.descriptors, self.inbox = spent, deque(), []
        self.close_spent()
        self.frames.clear()
        self.outbox.clear()


def _descriptors(ancillary: Any) -> list[int]:
    """Return the descriptors in the ancillary data of ``recvmsg``."""
    found = []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            usable = len(data) - len(data) % 4
            found += list(struct.unpack(f"{usable // 4}i", data[:usable]))
    return found


def frame(*parts: bytes) -> bytes:
    """Return the bytes of one frame."""
    body = b"".join(parts)
    return LENGTH.pack(len(body)) + body


# --- encode


class Taker(pickle.Pickler):
    """Pickles a batch's structure; arrays and Tensors are left out and collected in ``leaves``."""

    def __init__(self, file: io.BytesIO) -> None:
        leaves = self.prepare()
        super().__init__(file, protocol=5, buffer_callback=buffer_taker(leaves))

    def prepare(self) -> list[tuple[np.ndarray, str]]:
        """Make the list of leaves: pairs of an array and the letter of its kind.

        The letters: t(ensor), a(rray), f (array in Fortran's order), b(uffer), r(ead-only buffer).  The
        callback for buffers gets this list, not the pickler: a cycle of references would keep every batch's
        memory until a garbage collection, and no slot could be used again.
        """
        self.leaves: list[tuple[np.ndarray, str]] = []
        self.known: dict[int, int] = {}
        self.alive: list[Any] = []
        return self.leaves

    def persistent_id(self, obj: Any) -> int | None:
        kind = type(obj)
        if kind is not Tensor and kind is not np.ndarray:
            return None
        number = self.known.get(id(obj))
        if number is not None:
            return number
        if kind is Tensor:
            array = obj.array
            if type(array) is not np.ndarray:
                raise TypeError(
                    f"a worker returned a tensor on {obj.device}: workers have no share in the card;"
                    " return it on the CPU and move the batch in the main process"
                )
            if obj.requires_grad and not obj.is_leaf:
                raise RuntimeError(
                    "Cowardly refusing to serialize non-leaf tensor which requires_grad,"
                    " since autograd does not support crossing process boundaries;"
                    " detach() it in the dataset"
                )
            letter = "t"
        else:
            array, letter = obj, "a"
            if array.dtype.kind not in SIMPLE_KINDS or array.dtype.names or array.dtype.subdtype:
                return None  # arrays of objects and of structured types: pickle sends them
        if array.flags.c_contiguous:
            pass
        elif array.flags.f_contiguous and letter == "a":
            array, letter = array.T, "f"
        else:
            array = np.ascontiguousarray(array)
        number = len(self.leaves)
        self.leaves.append((array, letter))
        self.known[id(obj)] = number
        self.alive.append(obj)
        return number


def buffer_taker(leaves: list[tuple[np.ndarray, str]]) -> Any:
    """Return a ``buffer_callback`` for pickle that adds each buffer to ``leaves``."""

    def take(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        leaves.append((np.frombuffer(raw, np.uint8), "r" if raw.readonly else "b"))
        return False  # out of band

    return take


class Encoder:
    """The worker's side: packs a batch into (arena, slot, specification, structure, bytes)."""

    def __init__(self, writer: SlotWriter) -> None:
        self.writer = writer
        self.pickler: Any = Taker

    def encode(self, batch: Any) -> tuple[int, int, bytes, bytes, list[Any]]:
        """Put the arrays of ``batch`` where the program can read them, and pickle the rest.

        An exception is pickle's; the caller reports it in the batch's place.
        """
        file = io.BytesIO()
        taker = self.pickler(file)
        taker.dump(batch)
        structure = file.getvalue()
        return self._place(taker.leaves, structure)

    def _place(
        self, leaves: list[tuple[np.ndarray, str]], structure: bytes
    ) -> tuple[int, int, bytes, bytes, list[Any]]:
        """Copy arrays that do not lie in the slot yet into it; without a slot all go into the message."""
        writer = self.writer
        offsets = [writer.offset_of(array) for array, _ in leaves]
        missing = [i for i, offset in enumerate(offsets) if offset is None]
        place = writer.place([leaves[i][0].nbytes for i in missing])
        if writer.moved:  # a larger slot has taken the place of the first: all arrays go there
            missing = list(range(len(leaves)))
            place = writer.place([array.nbytes for array, _ in leaves])
        if place is None:
            return self._inline(leaves, structure)
        arena, slot, places = place
        memory = writer.memory
        for i, offset in zip(missing, places, strict=True):
            array = leaves[i][0]
            offsets[i] = offset
            if array.nbytes:
                np.copyto(np.ndarray(array.shape, array.dtype, memory, offset), array)
        return arena.number, slot, _specify(leaves, offsets), structure, []

    def _inline(
        self, leaves: list[tuple[np.ndarray, str]], structure: bytes
    ) -> tuple[int, int, bytes, bytes, list[Any]]:
        """Put the arrays' bytes into the message, each at a multiple of the alignment."""
        parts: list[Any] = []
        offsets, end = [], 0
        for array, _ in leaves:
            offsets.append(end)
            parts.append(array.reshape(-1).view(np.uint8).data if array.nbytes else b"")
            padding = -array.nbytes % ALIGNMENT
            parts.append(bytes(padding))
            end += round_up(array.nbytes, ALIGNMENT)
        if end <= PIECE:
            parts = [b"".join(parts)]
        return -1, -1, _specify(leaves, offsets), structure, parts


def _specify(leaves: list[tuple[np.ndarray, str]], offsets: list[Any]) -> bytes:
    """Return the specification of the arrays: dtype, shape, offset and kind of each."""
    return marshal.dumps(
        [
            (_text_of(array.dtype), array.shape, offset, kind)
            for (array, kind), offset in zip(leaves, offsets, strict=True)
        ]
    )


def _text_of(dtype: np.dtype) -> str:
    """Return a dtype's name in a specification: NumPy's code, or "bfloat16", for which NumPy has none."""
    return "bfloat16" if dtype.name == "bfloat16" else dtype.str


def _dtype_of(text: str) -> np.dtype:
    """Return the dtype of a name made by :func:`_text_of`."""
    return dtypes.bfloat16.numpy if text == "bfloat16" else np.dtype(text)


# --- decode


class _Giver(pickle.Unpickler):
    """Unpickles a batch's structure, and puts the arrays of ``leaves`` back into it."""

    leaves: list[Any]

    def persistent_load(self, number: int) -> Any:
        return self.leaves[number]


class Decoder:
    """The program's side: makes the batch again of memory, specification and structure."""

    def __init__(self) -> None:
        # Specification -> dtype, shape, offset, kind of each array, and whether it has any bytes.
        self.plans: dict[bytes, list[tuple[np.dtype, Any, int, str, bool]]] = {}

    def decode(self, memory: Any, specification: bytes, structure: bytes) -> Any:
        """Return the batch, whose arrays are views of ``memory``."""
        # The plan: most batches have the specification of the one before.
        plan = self.plans.get(specification)
        if plan is None:
            plan = [
                (_dtype_of(text), shape, at, kind, _dtype_of(text).itemsize * math.prod(shape) > 0)
                for text, shape, at, kind in marshal.loads(specification)
            ]
            if len(self.plans) >= 64:
                self.plans.clear()
            self.plans[specification] = plan
        # The arrays, as views of the memory.
        leaves: list[Any] = []
        buffers: list[Any] = []
        for dtype, shape, offset, kind, filled in plan:
            array = np.ndarray(shape, dtype, memory, offset) if filled else np.empty(shape, dtype)
            if kind == "t":
                leaves.append(wrap(array, CPU))
            elif kind == "a":
                leaves.append(array)
            elif kind == "f":
                leaves.append(array.T)
            else:
                if kind == "r":
                    array.flags.writeable = False
                buffers.append(array)
                leaves.append(array)
        # The structure around them.
        giver = _Giver(io.BytesIO(structure), buffers=buffers)
        giver.leaves = leaves
        return giver.load()


def pickled(kind: int, value: Any) -> bytes:
    """Return a frame of ``kind`` with a pickled value (protocol 5)."""
    return frame(bytes((kind,)), pickle.dumps(value, 5))


def new_arena_frame(arena: Arena) -> bytes:
    """Return the content of the frame that announces an arena; its descriptor is sent along with it."""
    return bytes((ARENA,)) + marshal.dumps((arena.number, arena.slot_size, arena.slots))


def unpickled(data: Any) -> Any:
    """Return the value in a frame's content, made by :func:`pickled`."""
    return pickle.loads(memoryview(data)[1:])


def repickled(value: Any) -> bytes:
    """Return ``pickle.dumps`` of a value, in protocol 5."""
    return pickle.dumps(value, 5)
