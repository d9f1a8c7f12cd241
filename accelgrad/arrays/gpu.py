"""Whether a card can be used here, or why not, and what its memory holds.

CuPy is imported when somebody first asks.  :func:`status` raises no error; :func:`require` raises one that
names the cause.  All other work on the card goes through CuPy (:mod:`accelgrad.arrays.backend`).
"""

from __future__ import annotations

import ctypes
import functools
import gc
import importlib
import importlib.util
import os
import sys
from typing import Any, NamedTuple

import numpy as np

from accelgrad.arrays.holder import ArrayHolder

__all__ = ["Meter", "OutOfMemoryError", "Status", "current_device", "install_line", "require", "status"]


class Status(NamedTuple):
    """The answer of :func:`status`: whether the card can be used, the cause as a short code, and in words."""

    ok: bool
    code: str
    message: str


@functools.cache
def status() -> Status:
    """Look for CuPy, a driver that is new enough, a card and cuBLAS; the first one missing is the cause.

    It looks once in a process.  The codes are ``ok``, ``no-cupy``, ``two-cupys``, ``broken-cupy``,
    ``no-driver``, ``old-driver``, ``no-device``, ``no-cublas`` and, in a worker of the DataLoader,
    ``worker``.

    >>> isinstance(status().message, str)
    True
    """
    if os.environ.get("ACCELGRAD_WORKER"):
        return Status(
            False,
            "worker",
            "this is a DataLoader worker, and workers have no share in the card:"
            " return samples on the CPU, and move the batch in the main process, batch.to('gpu')",
        )

    # CuPy: one copy of it, which can be imported.
    driver = driver_version()
    wheels = cupy_wheels()
    if importlib.util.find_spec("cupy") is None:
        return Status(False, "no-cupy", f"CuPy is not installed. {_advice(driver)}")
    if len(wheels) > 1:
        return Status(
            False,
            "two-cupys",
            f"{' and '.join(wheels)} are installed together and overwrite each other's files."
            f" Run: pip uninstall -y {' '.join(wheels)} && {install_line(_generation(driver))}",
        )
    try:
        cupy: Any = importlib.import_module("cupy")
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        return Status(
            False,
            "broken-cupy",
            f"CuPy is installed but cannot be imported ({type(error).__name__}: {first})."
            f" Run: {install_line(_generation(driver)).replace('install', 'install --force-reinstall', 1)}",
        )

    # The driver, as CuPy finds it: the CUDA version that CuPy was built for, and that of the driver.
    built = cupy.cuda.runtime.runtimeGetVersion()
    found = cupy.cuda.runtime.driverGetVersion()
    if found == 0:
        return Status(
            False,
            "no-driver",
            f"CuPy {cupy.__version__} is installed, but no NVIDIA driver (libcuda) was found."
            f" Install a driver, version {DRIVERS.get(built // 1000, '580')} or newer;"
            " in a container, start it with --gpus all.",
        )
    if found // 1000 < built // 1000:
        return Status(
            False,
            "old-driver",
            f"the NVIDIA driver runs CUDA up to {_version(found)},"
            f" but CuPy {cupy.__version__} was built for CUDA {built // 1000}."
            f" Update the driver to {DRIVERS.get(built // 1000, '580')} or newer"
            + (_instead(found // 1000, wheels) if found // 1000 in DRIVERS else "")
            + ".",
        )

    # A card.
    try:
        count = cupy.cuda.runtime.getDeviceCount()
        reason = "the driver sees no card"
    except Exception as error:
        count, reason = 0, str(error)
    if count == 0:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        hint = "" if visible is None else f"; CUDA_VISIBLE_DEVICES is {visible!r}: unset it, or name a card"
        return Status(False, "no-device", f"no CUDA device can be used: {reason}{hint}. Try: nvidia-smi")

    # cuBLAS, which CuPy looks for when it is first named.
    try:
        _ = cupy.cuda.cublas
    except ImportError as error:
        first = (str(error).strip().splitlines() or [""])[0]
        return Status(
            False,
            "no-cublas",
            f"CuPy finds no cuBLAS ({first}). Run: {install_line(built // 1000)}",
        )
    return Status(
        True, "ok", f"{count} CUDA device(s), driver CUDA {_version(found)}, CuPy {cupy.__version__}"
    )


def require(index: int | None = None) -> None:
    """Raise RuntimeError with the cause and the remedy, unless the card can be used.

    ``index`` None asks for any card.
    """
    now = status()
    if not now.ok:
        raise RuntimeError(f"device 'gpu' cannot be used ({now.code}): {now.message}")
    count = sys.modules["cupy"].cuda.runtime.getDeviceCount()
    if index is not None and not 0 <= index < count:
        raise RuntimeError(
            f"CUDA error: invalid device ordinal: 'gpu:{index}' was asked for,"
            f" but there are {count} device(s), 'gpu:0' to 'gpu:{count - 1}'"
        )


def current_device() -> int:
    """Return the index of the current card, which ``"gpu"`` means; RuntimeError if no card can be used."""
    require()
    return int(sys.modules["cupy"].cuda.Device().id)


# --- its memory


class OutOfMemoryError(RuntimeError, MemoryError):
    """The error for an array that finds no room on the card; its text says what fills the memory.

    It is a RuntimeError, as in PyTorch, and also a MemoryError.

    >>> issubclass(OutOfMemoryError, RuntimeError)
    True
    """


class Meter:
    """CuPy's allocator: its memory pool with clear errors and, once asked for, the peak use of each card.

    The pool is asked for its use after every allocation on a card whose peak somebody wants to know;
    before the first such question that costs nothing.  ``peak`` is in bytes, by the index of the card.
    """

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy
        self.pool = cupy.get_default_memory_pool()
        self.peak: dict[int, int] = {}

    def __call__(self, size: int) -> Any:
        try:
            pointer = self.pool.malloc(size)
        except MemoryError as error:
            raise OutOfMemoryError(out_of_memory(self.cupy, size, self.pool)) from error
        if self.peak:
            device = int(pointer.device_id)
            if device in self.peak:
                self.peak[device] = max(self.peak[device], int(self.pool.used_bytes()))
        return pointer

    def restart(self, device: int) -> None:
        """Begin to count the peak of a card, from what is in use now."""
        with self.cupy.cuda.Device(device):
            self.peak[device] = int(self.pool.used_bytes())


@functools.cache
def meter() -> Meter:
    """Return the meter of this process, made CuPy's allocator at first; one that the user has set stays."""
    cupy = importlib.import_module("cupy")
    made = Meter(cupy)
    own = cupy.cuda.get_allocator()
    if getattr(own, "__name__", "malloc") == "malloc" or own == made.pool.malloc:
        cupy.cuda.set_allocator(made)
    return made


def out_of_memory(cupy: Any, size: int, pool: Any) -> str:
    """Build the text of the error: what was asked for, how the memory is used, and the largest tensors."""
    device = cupy.cuda.Device()
    free, total = device.mem_info
    found = largest_tensors(int(device.id))
    lines = [
        "CUDA out of memory."
        f" Tried to allocate {readable(size)} on cuda:{int(device.id)}, which has {readable(total)},"
        f" {readable(free)} of it free."
        f" Arrays hold {readable(pool.used_bytes())},"
        f" the pool keeps another {readable(pool.free_bytes())} for reuse"
        + (f", and its limit is {readable(pool.get_limit())}" if pool.get_limit() else "")
        + "."
    ]
    if found:
        lines.append("The largest tensors alive:")
        lines += [f"  {readable(size):>10}  {text}" for size, text in found]
    lines.append(
        "Use a smaller batch, accelgrad.no_grad() where no gradient is needed, or del what is no longer used."
    )
    return "\n".join(lines)


def largest_tensors(device: int, count: int = 5) -> list[tuple[int, str]]:
    """Return the size and a description of the largest tensors on a card; shared memory counts once."""
    seen: dict[int, tuple[int, str]] = {}
    for one in gc.get_objects():
        # The type is asked: isinstance would ask every object for __class__, and some then run code.
        if not issubclass(type(one), ArrayHolder) or isinstance(one.array, np.ndarray):
            continue
        array = one.array
        if int(array.device.id) == device:
            text = f"{type(one).__name__} {tuple(array.shape)} {array.dtype}"
            known = seen.get(array.data.ptr)
            if known is None or known[0] < array.nbytes:
                seen[array.data.ptr] = (array.nbytes, text)
    return sorted(seen.values(), reverse=True)[:count]


def readable(size: int) -> str:
    """Write a number of bytes with a unit that keeps it short.

    >>> readable(3 << 20)
    '3.00 MiB'
    """
    value, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} B" if unit == "B" else f"{value:.2f} {unit}"


# --- what is installed


def driver_version() -> int:
    """Return the CUDA version that the driver library names, e.g. 13000 for 13.0; 0 without a driver."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    version = ctypes.c_int(0)
    try:
        failed = ctypes.CDLL(name).cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return 0
    return 0 if failed else version.value


def cupy_wheels() -> list[str]:
    """Return the names of the installed packages that bring a module ``cupy``."""
    # Not at the top: it takes a quarter of the time of ``import accelgrad``.
    import importlib.metadata

    names = {
        str(one.metadata["Name"]).lower()
        for one in importlib.metadata.distributions()
        if str(one.metadata["Name"]).lower().partition("-")[0] == "cupy"
    }
    return sorted(names)


DRIVERS = {12: "525", 13: "580"}
"""The oldest driver for each CUDA generation (NVIDIA's release notes, minor version compatibility)."""


def install_line(generation: int) -> str:
    """Return the command that installs CuPy and Numba's CUDA compiler for CUDA 12 or 13.

    >>> install_line(13)
    'pip install "cupy-cuda13x[ctk]>=14,<15" "numba-cuda[cu13]>=0.30.4,<0.31"'
    """
    return f'pip install "cupy-cuda{generation}x[ctk]>=14,<15" "numba-cuda[cu{generation}]>=0.30.4,<0.31"'


def _generation(driver: int) -> int:
    """Return the CUDA generation to install for this driver: 12 if it is one for CUDA 12, else 13."""
    return 12 if 12000 <= driver < 13000 else 13


def _advice(driver: int) -> str:
    """Say what to install if CuPy is missing, for the driver that is there."""
    if driver == 0:
        return (
            "There is no NVIDIA driver (libcuda) either."
            f" With a card and a driver from version {DRIVERS[13]} on, run:"
            f" {install_line(13)}   (from {DRIVERS[12]} on: {install_line(12)})"
        )
    if driver < 12000:
        return (
            f"The NVIDIA driver runs CUDA up to {_version(driver)};"
            f" update it to {DRIVERS[13]} or newer, then run: {install_line(13)}"
        )
    return f"Run: {install_line(_generation(driver))}"


def _instead(generation: int, wheels: list[str]) -> str:
    """Name the other way out of a driver that is too old: a CuPy for the CUDA generation of the driver."""
    remove = f"pip uninstall -y {' '.join(wheels)} && " if wheels else ""
    return f", or run: {remove}{install_line(generation)}"


def _version(number: int) -> str:
    """Write a CUDA version as people do: 12040 is "12.4"."""
    return f"{number // 1000}.{number % 1000 // 10}"
