"""The dataset on its way to the workers: pickled, with its large arrays in one file that all workers map.

cloudpickle does the pickling: lambdas, local classes and everything from ``__main__`` (a notebook's cells, a
script) are sent by value, so a worker needs neither the script nor a main guard.
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
    "a DataLoader with num_workers > 0 sends it to its workers:"
    " make it in the worker (on first use, or in worker_init_fn), or leave it out in __getstate__;"
    " multiprocessing_context='fork' inherits it unpickled, and num_workers=0 needs no worker"
)


class _Pickler(cloudpickle.Pickler):
    """cloudpickle's pickler, which sends arrays as buffers, and memory maps by the name of their file."""

    def __init__(self, file: io.BytesIO, protocol: int = 5, buffer_callback: Any = None) -> None:
        super().__init__(file, protocol=protocol, buffer_callback=buffer_callback)

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is type or kind is types.FunctionType or isinstance(obj, type):
            self._send_by_value_if_unimportable(obj)
        elif kind is np.ndarray and not obj.dtype.hasobject:
            if not (obj.flags.c_contiguous or obj.flags.f_contiguous):
                # Otherwise its bytes would go into the pickle itself.
                return np.ascontiguousarray(obj).__reduce_ex__(5)
        elif kind is np.memmap:
            reduced = _reduce_memmap(obj)
            if reduced is not None:
                return reduced
        elif issubclass(kind, io.IOBase) and not isinstance(obj, io.BytesIO | io.StringIO):
            # cloudpickle would send the file's content.
            raise TypeError(f"cannot pickle '{kind.__module__}.{kind.__qualname__}' object")
        return super().reducer_override(obj)

    def _send_by_value_if_unimportable(self, obj: Any) -> None:
        """Let classes of a module that only this process can import (loaded from a file) be sent by value."""
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
    """Return whether a worker, which has the same ``sys.path``, will find the top-level module ``name``."""
    if name in sys.builtin_module_names or name in sys.stdlib_module_names:
        return True
    known = _found.get(name)
    if known is None or known[0] != sys.path:
        known = (list(sys.path), any(_finds(finder, name) for finder in sys.meta_path))
        _found[name] = known
    return known[1]


def _finds(finder: Any, name: str) -> bool:
    """Return whether an entry of ``sys.meta_path`` finds the module."""
    try:
        return finder.find_spec(name, None) is not None
    except Exception:  # a finder that does not know this call
        return False


_found: dict[str, tuple[list[str], bool]] = {}


def _reduce_memmap(array: np.memmap) -> Any:
    """Return how to open the same part of the file again, or None: a map of 100 GB must not be copied."""
    base = getattr(array, "_mmap", None)
    if base is None or array.filename is None or array.mode == "c" or not os.path.exists(array.filename):
        return None
    start = np.frombuffer(base, np.uint8).__array_interface__["data"][0]
    # np.memmap maps from the multiple of the granularity that lies below its offset.
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
    """Open the part of a file again that an array was a memory map of."""
    whole = np.memmap(name, np.uint8, mode)
    array = np.ndarray(shape, dtype, buffer=whole, offset=offset, strides=strides)
    return array


def by_value(value: Any) -> bytes:
    """Return ``value`` pickled with cloudpickle, protocol 5."""
    file = io.BytesIO()
    _Pickler(file, protocol=5).dump(value)
    return file.getvalue()


class Payload:
    """The pickled dataset and functions, to be written into one anonymous file.

    ``first`` is plain data that a worker reads before it imports anything else; ``parts`` are the user's
    objects.  The file has ``meta``, a pickle, at its beginning, then each buffer at a multiple of the page
    size.
    """

    def __init__(self, first: dict[str, Any], parts: dict[str, Any]) -> None:
        # Pickle all parts; if that fails, find the one that cannot be pickled.
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
        # Where each buffer will lie in the file.
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
        """Return everything as one pickle, where no file can be passed on; see :func:`load_inline`."""
        first, body, sizes = pickle.loads(self.meta)
        return pickle.dumps((first, body, [bytearray(raw) for raw in self.raws], sizes), 5)

    def to_file(self) -> Payload:
        """Write everything into a file, ``descriptor``; MemoryError where memory does not suffice.

        The file stays open until :meth:`close` is called or this object dies.
        """
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
    """Packs a batch like :class:`transport.Taker`, but sends classes by value that the program cannot import.

    cloudpickle numbers the classes that it has sent, so a class from the program's ``__main__`` comes back
    as itself.
    """

    def __init__(self, file: io.BytesIO, protocol: int = 5) -> None:
        _Pickler.__init__(self, file, protocol, transport.buffer_taker(self.prepare()))


def _write(descriptor: int, offset: int, data: memoryview) -> None:
    """Write all of ``data`` into the file, from ``offset`` on."""
    while len(data):
        written = os.pwrite(descriptor, data[: 1 << 30], offset)
        data, offset = data[written:], offset + written


def load_inline(
    data: Any, prepare: Callable[[dict[str, Any]], None]
) -> tuple[dict[str, Any], Callable[[], dict[str, Any]]]:
    """Read what :meth:`Payload.to_bytes` has made, as :func:`load_payload` reads the file."""
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
    """Read the file of :class:`Payload` in a worker: ``first``, and a function that unpickles ``parts``.

    ``prepare(first)`` is called in between.  The file is mapped privately: all workers read the same pages,
    and one that writes to a page gets its own copy of it.
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
