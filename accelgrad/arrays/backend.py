"""Devices and array modules: which library an array belongs to, and how it moves between host and card.

This is the one place that imports CuPy, at first use of a GPU.
"""

from __future__ import annotations

import collections
import contextlib
import importlib
import os
import sys
import threading
from typing import Any

import numpy as np

from accelgrad import kernels
from accelgrad.arrays import gpu, precision

__all__ = ["Device", "Namespace", "default_device", "device", "namespace", "set_default_device"]


class Device:
    """A place where arrays live: ``"cpu"``, ``"gpu"`` (the current card), or one card such as ``"gpu:1"``.

    PyTorch's spellings ``"cuda"`` and ``"cuda:1"`` mean the same, and so does the number 1 alone for
    ``"gpu:1"``.  ``"auto"`` is the card if it can be used, else the CPU.  In a block ``with device:`` this
    thread makes its new tensors there.

    TypeError for anything but a string, an integer or a device; RuntimeError for an unknown kind of device
    and for an index that cannot be.

    >>> Device("gpu:1")
    device(type='cuda', index=1)
    >>> str(Device("cpu")), Device("cuda:0") == Device("gpu", 0)
    ('cpu', True)
    """

    __slots__ = ("index", "type")
    index: int | None
    type: str

    def __new__(cls, type: str | int | Device = "cpu", index: int | None = None) -> Device:
        if isinstance(type, Device):
            return type
        if isinstance(type, int) and not isinstance(type, bool):
            index, type = type, "cuda"
        if not isinstance(type, str):
            raise TypeError(f"device must be a string such as 'cpu' or 'gpu:0', got {type!r}")
        kind, colon, number = type.strip().lower().partition(":")
        if colon:
            if index is not None:
                raise RuntimeError(
                    f"type (string) must not include an index because index was passed explicitly: {type}"
                )
            if not number.isdigit():
                raise RuntimeError(f"Invalid device string: '{type}'; write 'gpu:0'")
            index = int(number)
        kind = {"gpu": "cuda"}.get(kind, kind)
        if kind == "auto":
            kind = "cuda" if gpu.status().ok else "cpu"
        if kind not in ("cpu", "cuda"):
            raise RuntimeError(
                f"Expected one of cpu, gpu, cuda, auto device type at start of device string: {type}"
            )
        if index is not None and (index < 0 or (kind == "cpu" and index > 0)):
            raise RuntimeError(f"device index {index} is out of range for device type {kind!r}")
        self = object.__new__(cls)
        object.__setattr__(self, "type", kind)
        object.__setattr__(self, "index", index)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"attribute {name!r} of a device cannot be changed; make a new one")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return f"device(type={self.type!r}" + ("" if self.index is None else f", index={self.index}") + ")"

    def __reduce__(self) -> Any:
        return Device, (self.type, self.index)

    def __enter__(self) -> Device:
        _blocks.entered.append(namespace(self))
        return self

    def __exit__(self, *exception: object) -> None:
        _blocks.entered.pop()


device = Device


# --- array modules


class Namespace:
    """An array module with our kernels laid over it; formulas call it ``xp``.

    A name is resolved when it is first used (by :func:`accelgrad.kernels.resolve`); from then on it is an
    ordinary attribute.

    >>> xp = namespace("cpu")
    >>> float(xp.sum(xp.ones((2, 3))))
    6.0
    """

    asynchronous = False
    """Whether reading a value means waiting for the device."""

    looks = True
    """Whether formulas read values merely to check them (labels, indices, ranges).

    On a card every such check makes the program wait, so there it is done only if the environment has
    CUDA_LAUNCH_BLOCKING=1, PyTorch's switch for finding such mistakes.
    """

    alone = True
    """Whether this is the only device of its kind.  If not, work on it must be done within :meth:`scope`."""

    _direct: dict[str, Any] = {
        "swapaxes": lambda x, axis1, axis2: x.swapaxes(axis1, axis2),
        "reshape": lambda x, shape: x.reshape(shape),
    }
    """Functions that do the same as the module's of these names in fewer steps."""

    def __init__(self, module: Any, device: Device) -> None:
        self.module = module
        self.array_type = module.ndarray
        self.device = device
        self.kernel_device = device.type
        self.differentiable = False
        self._fixed = frozenset(self.__dict__) | {"_fixed"}
        kernels._forgetters.append(self._forget)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = self.resolved(name)
        self.__dict__[name] = value
        return value

    def resolved(self, name: str) -> Any:
        """Find what ``name`` stands for, until the kernels' mode or another setting changes."""
        return kernels.resolve(name, self)

    def _forget(self) -> None:
        """Drop all resolved names, so that each is resolved anew at its next use."""
        for name in [name for name in self.__dict__ if name not in self._fixed]:
            self.__dict__.pop(name, None)

    def base(self, name: str) -> Any:
        """Return what the array module itself calls ``name``, or None if it has no such name."""
        return self._direct.get(name) or getattr(self.module, name, None)

    def astype(self, x: Any, dtype: Any) -> Any:
        """Return the array ``x`` with another NumPy dtype: a copy, or ``x`` itself if it has that dtype."""
        return x.astype(dtype, copy=False)

    def sum_of(self, x: Any, y: Any) -> Any:
        """Return ``x + y``, computed on this namespace's device."""
        return x + y

    def run(self, primitive: Any, *arrays: Any, **options: Any) -> Any:
        """Run another primitive's forward formula on raw arrays; nothing is recorded."""
        return primitive.run(self, *arrays, **options)

    def from_host(self, array: np.ndarray, wait: bool = True) -> Any:
        """Return a NumPy array on this namespace's device; on the CPU it is the same object.

        With ``wait=False`` the caller promises not to write to ``array`` before the device has fetched it.
        """
        return array

    def to_host(self, array: Any) -> np.ndarray:
        """Return the array as a NumPy array: on the CPU the same object, from a card a copy."""
        return array

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which new arrays are made on this namespace's device."""
        return contextlib.nullcontext()

    def __repr__(self) -> str:
        return f"<namespace {self.module.__name__} on {self.device}>"

    def __reduce__(self) -> Any:
        return namespace, (str(self.device),)


def _reduction(ufunc: Any) -> Any:
    """Make a reduction of a ufunc; ``np.sum`` spends a microsecond more, to ask the array for its own."""

    def reduce(x: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        return ufunc.reduce(x, axis, dtype, out, keepdims)

    return reduce


class NumpyNamespace(Namespace):
    """NumPy, with shorter ways to the reductions that formulas use most."""

    _direct = Namespace._direct | {
        "sum": _reduction(np.add),
        "prod": _reduction(np.multiply),
        "max": _reduction(np.maximum),
        "min": _reduction(np.minimum),
    }


class CudaNamespace(Namespace):
    """CuPy on one card."""

    asynchronous = True
    # The operator finds cuBLAS in fewer steps than CuPy's function.
    _direct = Namespace._direct | {"matmul": lambda x, y: x @ y}

    def __init__(self, module: Any, device: Device) -> None:
        global several_cards
        self.looks = os.environ.get("CUDA_LAUNCH_BLOCKING") == "1"
        self.alone = int(module.cuda.runtime.getDeviceCount()) == 1
        several_cards = several_cards or not self.alone
        self._held: collections.deque[tuple[Any, Any]] = collections.deque()
        super().__init__(module, device)

    def resolved(self, name: str) -> Any:
        return precision.chosen(name, super().resolved(name), self.base(name))

    def from_host(self, array: np.ndarray, wait: bool = True) -> Any:
        with self.scope():
            if wait or not is_pinned(array) or not array.flags.c_contiguous:
                return self.module.asarray(array)  # CuPy copies on the host first: the array is free at once
            result = self.module.empty(array.shape, array.dtype)
            stream = self.module.cuda.get_current_stream()
            result.set(array, stream)
            # The card fetches the values while the program goes on. Until it has them, the page-locked
            # memory must not go back to its pool, which would give it to the next batch.
            self.hold(array, stream)
            return result

    def hold(self, array: Any, stream: Any) -> None:
        """Keep the memory of ``array`` until CuPy's ``stream`` has finished all work given to it so far."""
        self._held.append((stream.record(), array))
        while self._held and self._held[0][0].done:
            self._held.popleft()

    def sum_of(self, x: Any, y: Any) -> Any:
        """Return ``x + y`` of two arrays of this card, whichever card is the current one."""
        with self.scope():
            return x + y

    def from_card(self, array: Any, source: Namespace) -> Any:
        """Copy an array from another card to this one.

        The streams of the two cards wait for each other; the program waits for neither.
        """
        cuda = self.module.cuda
        with source.scope():
            written = cuda.get_current_stream().record()
        with self.scope():
            stream = cuda.get_current_stream()
            stream.wait_event(written)
            result = array.copy()  # CuPy copies to the current card
            copied = stream.record()
        with source.scope():
            # Only then may the memory of the other card's array be used again.
            cuda.get_current_stream().wait_event(copied)
        return result

    def to_host(self, array: Any) -> np.ndarray:
        return self.module.asnumpy(array)

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        return self.module.cuda.Device(self.device.index)


# --- the array module of a device

CPU = NumpyNamespace(np, Device("cpu"))
several_cards = False
"""Whether this process has used a card of several: an array may then lie on a card that is not current."""

_namespaces: dict[tuple[str, int], Namespace] = {("cpu", 0): CPU}


def namespace(where: Any = None) -> Namespace:
    """Return the array module of a device; None means the default device.

    RuntimeError with the cause if the device cannot be used.

    >>> namespace("cpu")
    <namespace numpy on cpu>
    """
    if where is None:
        return default_namespace()
    if isinstance(where, Namespace):
        return where
    chosen = Device(where)
    index = chosen.index
    if index is None:
        index = 0 if chosen.type == "cpu" else current_cuda_device()
    found = _namespaces.get((chosen.type, index))
    if found is None:
        found = _namespaces[(chosen.type, index)] = _cuda_namespace(index)
    return found


def _cuda_namespace(index: int) -> Namespace:
    """Make the array module of a card; RuntimeError with the cause if the card cannot be used."""
    gpu.require(index)
    gpu.meter()
    return CudaNamespace(importlib.import_module("cupy"), Device("cuda", index))


def current_cuda_device() -> int:
    """Return the index of the card that ``"gpu"`` without a number means."""
    return gpu.current_device()


# --- the device of new tensors


class _Blocks(threading.local):
    """The devices of the ``with device:`` blocks that this thread is in, the innermost one last."""

    def __init__(self) -> None:
        self.entered: list[Namespace] = []


_blocks = _Blocks()

_default: Namespace | None = None
"""The array module of new tensors outside such blocks; None until somebody asks for it."""


def default_namespace() -> Namespace:
    """Return the array module of new tensors.

    It is that of the innermost ``with device:``, else the one that ``set_default_device`` has chosen, else
    that of the environment variable ACCELGRAD_DEVICE, else the CPU's.
    """
    global _default
    if _blocks.entered:
        return _blocks.entered[-1]
    if _default is None:
        _default = namespace(os.environ.get("ACCELGRAD_DEVICE") or "cpu")
    return _default


def default_device() -> Device:
    """Return the device on which new tensors are made (see :func:`set_default_device`).

    >>> import accelgrad
    >>> with accelgrad.device("cpu"):
    ...     accelgrad.get_default_device()
    device(type='cpu')
    """
    return default_namespace().device


def set_default_device(device: Any) -> None:
    """Make new tensors on ``device`` from now on, in all threads; a ``with device:`` block goes before it.

    None returns to the environment variable ACCELGRAD_DEVICE, or else to the CPU.  RuntimeError with the
    cause if the device cannot be used.

    >>> import accelgrad
    >>> accelgrad.set_default_device("cpu")
    >>> accelgrad.ones(2).device
    device(type='cpu')
    """
    global _default
    _default = None if device is None else namespace(device)


# --- raw arrays


def is_array(value: Any) -> bool:
    """Tell whether ``value`` is a raw array, NumPy's or CuPy's, without importing CuPy."""
    return isinstance(value, np.ndarray) or type(value).__module__.partition(".")[0] == "cupy"


def of_array(array: Any) -> Namespace:
    """Return the array module that a raw array belongs to."""
    if type(array) is np.ndarray or isinstance(array, np.generic | np.ndarray):
        return CPU
    return namespace(Device("cuda", int(array.device.id)))


def added(x: Any, y: Any) -> Any:
    """Return ``x + y``, computed on the device of ``x``; for raw arrays and Tensors."""
    if is_array(x) and type(x) is not np.ndarray:
        return of_array(x).sum_of(x, y)
    return x + y


def is_pinned(array: Any) -> bool:
    """Tell whether a NumPy array lies in page-locked memory of CuPy's; False while CuPy is not loaded.

    >>> is_pinned(np.zeros(3))
    False
    """
    cupy = sys.modules.get("cupy")
    if cupy is None:
        return False
    base = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    return isinstance(base, cupy.cuda.PinnedMemoryPointer)


def pin(array: np.ndarray) -> np.ndarray:
    """Copy an array into page-locked memory of CuPy's, which is kept as long as an array uses it."""
    cupy = importlib.import_module("cupy")
    memory = cupy.cuda.alloc_pinned_memory(max(array.nbytes, 1))
    pinned = np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)
    pinned[...] = array
    return pinned


# --- threads


def set_num_threads(number: int) -> None:
    """Let NumPy's BLAS and our CPU kernels use at most ``number`` threads each.

    Fewer threads are faster when other processes want the cores too: BLAS waits in a loop for the slowest of
    its threads, so one thread that a busy loader worker has pushed aside delays every product.  ValueError
    for anything but an integer of at least 1.

    >>> import accelgrad
    >>> before = accelgrad.get_num_threads()
    >>> accelgrad.set_num_threads(1); accelgrad.get_num_threads()
    1
    >>> accelgrad.set_num_threads(before)
    """
    kernels.set_num_threads(number)
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        # The kernels obey; BLAS listens to the environment variable OPENBLAS_NUM_THREADS only.
        return
    threadpool_limits(limits=number, user_api="blas")
