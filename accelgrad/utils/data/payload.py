"""What a worker is given at its start: the dataset and its functions, with large arrays in one file all
workers map.

Pickling is cloudpickle's: lambdas, local classes and everything from ``__main__`` (a notebook's cells, a
script) travel by value, so that a worker needs neither the script nor a main guard.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

import cloudpickle
import numpy as np

from accelgrad.utils.data import transport
from accelgrad.utils.data.faults import unpicklable_error
from accelgrad.utils.data.interrupts import interrupts_held
from accelgrad.utils.data.memory import anonymous_file, round_up

__all__ = ["Payload", "by_value", "load_payload"]

POPULATE = 1 << 30
MADV_POPULATE_READ = 22
ADVICE = (
    "a DataLoader with num_workers > 0 sends it to its workers: make it in the worker (on first use, or in"
    " worker_init_fn), or leave it out in __getstate__; multiprocessing_context='fork' inherits it unpickled,"
    " and num_workers=0 needs no worker"
)


class _Pickler(cloudpickle.Pickler):
    """cloudpickle, with arrays that always leave by buffer, and memory maps that are opened again instead of
    copied."""

    def __init__(self, file: io.BytesIO, protocol: int = 5, buffer_callback: Any = None) -> None:
        super().__init__(file, protocol=protocol, buffer_callback=buffer_callback)

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is type or kind is types.FunctionType or isinstance(obj, type):
            self._send_by_value_if_unimportable(obj)
        elif kind is np.ndarray and not obj.dtype.hasobject:
            if not (obj.flags.c_contiguous or obj.flags.f_contiguous):
                return np.ascontiguousarray(obj).__reduce_ex__(
                    5
                )  # else its bytes would go into the pickle itself
        elif kind is np.memmap:
            reduced = _reduce_memmap(obj)
            if reduced is not None:
                return reduced
        elif issubclass(kind, io.IOBase) and not isinstance(obj, io.BytesIO | io.StringIO):
            raise TypeError(
                f"cannot pickle '{kind.__module__}.{kind.__qualname__}' object"
            )  # not its content instead
        return super().reducer_override(obj)

    def _send_by_value_if_unimportable(self, obj: Any) -> None:
        """A module that was loaded from a file by hand is known to this process alone: its classes go by
        value."""
        module = sys.modules.get(getattr(obj, "__module__", None) or "")
        if module is None or module.__name__ == "__main__" or _importable(module.__name__.partition(".")[0]):
            return
        if module.__name__ not in cloudpickle.list_registry_pickle_by_value():
            cloudpickle.register_pickle_by_value(module)
            self.registered.append(module)

    def dump(self, obj: Any) -> None:
        self.registered: list[types.ModuleType] = []
        try:
            super().dump(obj)
        finally:
            for module in self.registered:
                cloudpickle.unregister_pickle_by_value(module)


def _importable(name: str) -> bool:
    """Whether a worker, which has the same path, will find the top-level module ``name``."""
    if name in sys.builtin_module_names or name in sys.stdlib_module_names:
        return True
    known = _found.get(name)
    if known is None or known[0] != sys.path:
        known = (list(sys.path), any(_finds(finder, name) for finder in sys.meta_path))
        _found[name] = known
    return known[1]


def _finds(finder: Any, name: str) -> bool:
    try:
        return finder.find_spec(name, None) is not None
    except Exception:  # a finder that cannot be asked so
        return False


_found: dict[str, tuple[list[str], bool]] = {}


def _reduce_memmap(array: np.memmap) -> Any:
    """A memory map as its file and the part of it: a data set of 100 GB is not to be copied."""
    base = getattr(array, "_mmap", None)
    if base is None or array.filename is None or array.mode == "c" or not os.path.exists(array.filename):
        return None
    start = np.frombuffer(base, np.uint8).__array_interface__["data"][0]
    # np.memmap maps from a multiple of the granularity below its offset; every view's own offset follows
    # from that.
    mapped_from = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
    inside = array.__array_interface__["data"][0] - start
    if not 0 <= inside <= len(base):
        return None
    mode = "r" if array.mode == "r" else "r+"
    return _open_memmap, (
        os.path.abspath(array.filename),
        mode,
        array.dtype,
        mapped_from + inside,
        array.shape,
        array.strides,
    )


def _open_memmap(name: str, mode: Any, dtype: np.dtype, offset: int, shape: Any, strides: Any) -> np.ndarray:
    whole = np.memmap(name, np.uint8, mode)
    array = np.ndarray(shape, dtype, buffer=whole, offset=offset, strides=strides)
    return array


def by_value(value: Any) -> bytes:
    """``value`` pickled with cloudpickle, protocol 5."""
    file = io.BytesIO()
    _Pickler(file, protocol=5).dump(value)
    return file.getvalue()


class Payload:
    """Pickled parts in one anonymous file: ``meta`` bytes of pickle, then each buffer at a multiple of the
    page size."""

    def __init__(self, first: dict[str, Any], parts: dict[str, Any]) -> None:
        """``first`` is plain data that is read before anything else is imported; ``parts`` are the user's
        objects."""
        buffers: list[pickle.PickleBuffer] = []
        file = io.BytesIO()
        try:
            _Pickler(file, protocol=5, buffer_callback=buffers.append).dump(parts)
        except Exception as error:
            for name, part in parts.items():
                try:
                    by_value(part)
                except Exception as reason:
                    raise unpicklable_error(part, name, reason, ADVICE, by_value) from error
            raise
        self.raws = [buffer.raw() for buffer in buffers]
        sizes = [(raw.nbytes, raw.readonly) for raw in self.raws]
        self.meta = pickle.dumps((first, file.getvalue(), sizes), 5)
        offset = round_up(len(self.meta), mmap.PAGESIZE)
        self.offsets = []
        for raw in self.raws:
            self.offsets.append(offset)
            offset += round_up(raw.nbytes, mmap.PAGESIZE)
        self.size = max(offset, mmap.PAGESIZE)
        self.descriptor = -1  # of the file, once there is one
        self.close: Any = lambda: None

    def to_bytes(self) -> bytes:
        """The whole as one pickle, where no file can be passed on; see :func:`load_inline`."""
        first, body, sizes = pickle.loads(self.meta)
        return pickle.dumps((first, body, [bytearray(raw) for raw in self.raws], sizes), 5)

    def to_file(self) -> Payload:
        """Write the whole to ``descriptor``, which lives as long as this object or until :meth:`close`;
        MemoryError where it does not fit."""
        with interrupts_held():
            self.descriptor = anonymous_file(self.size)
            self.close = weakref.finalize(self, os.close, self.descriptor)
            self.close.atexit = False
        try:
            _write(self.descriptor, 0, memoryview(self.meta))
            for offset, raw in zip(self.offsets, self.raws, strict=True):
                _write(self.descriptor, offset, raw)
        except OSError as error:
            self.close()
            raise MemoryError(
                f"the dataset's {self.size} bytes could not be put into memory that the workers share"
                f" ({error})"
            ) from error
        self.raws = []
        return self


class ByValueTaker(transport.Taker, _Pickler):
    """Takes a batch apart like :class:`transport.Taker`; classes that the program cannot import go by value.

    cloudpickle numbers the classes it has sent, so that a class from the program's ``__main__`` comes back
    as itself.
    """

    def __init__(self, file: io.BytesIO, protocol: int = 5) -> None:
        _Pickler.__init__(self, file, protocol, transport.buffer_taker(self.prepare()))


def _write(descriptor: int, offset: int, data: memoryview) -> None:
    while len(data):
        written = os.pwrite(descriptor, data[: 1 << 30], offset)
        data, offset = data[written:], offset + written


def load_inline(
    data: Any, prepare: Callable[[dict[str, Any]], None]
) -> tuple[dict[str, Any], Callable[[], dict[str, Any]]]:
    """:func:`load_payload` for :meth:`Payload.to_bytes`."""
    first, body, buffers, sizes = pickle.loads(data)
    prepare(first)
    views = [
        memoryview(part).toreadonly() if readonly else part
        for part, (_, readonly) in zip(buffers, sizes, strict=True)
    ]
    return first, lambda: pickle.loads(body, buffers=views)


def load_payload(
    descriptor: int, size: int, meta_size: int, prepare: Callable[[dict[str, Any]], None]
) -> tuple[dict[str, Any], Callable[[], dict[str, Any]]]:
    """In a worker: ``first``, and a function that unpickles ``parts``.

    The file is mapped privately: all workers read the same pages, and one that writes gets its own copy of
    that page.
    """
    memory = mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    if size <= POPULATE and sys.platform == "linux":
        try:
            memory.madvise(MADV_POPULATE_READ)  # one call instead of a page fault for each 64 KiB
        except OSError:  # before Linux 5.14
            pass
    first, body, sizes = pickle.loads(memoryview(memory)[:meta_size])
    prepare(first)

    def load() -> dict[str, Any]:
        buffers, offset = [], round_up(meta_size, mmap.PAGESIZE)
        for length, readonly in sizes:
            part = memoryview(memory)[offset : offset + length]
            buffers.append(part.toreadonly() if readonly else part)
            offset += round_up(length, mmap.PAGESIZE)
        return pickle.loads(body, buffers=buffers)

    return first, load
