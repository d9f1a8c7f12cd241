"""Whether a card can be used here, and if not, why and which line installs what is missing.

Nothing is imported before somebody asks.  :func:`status` never raises; :func:`require` raises one error that
names the cause.  Everything else that speaks to the card goes through CuPy (:mod:`accelgrad.backend`).
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.metadata
import importlib.util
import os
import sys
from typing import Any, NamedTuple

__all__ = ["Status", "current_device", "install_line", "require", "status"]


class Status(NamedTuple):
    """Whether the card can be used; a short code of the cause; a sentence for the user."""

    ok: bool
    code: str
    message: str


# The oldest driver for programs of a CUDA generation (NVIDIA's release notes, minor version compatibility).
DRIVERS = {12: "525", 13: "580"}


def install_line(generation: int) -> str:
    """The command that installs CuPy and Numba's CUDA compiler for CUDA 12 or 13.

    >>> install_line(13)
    'pip install "cupy-cuda13x[ctk]>=14,<15" "numba-cuda[cu13]>=0.30.4,<0.31"'
    """
    return f'pip install "cupy-cuda{generation}x[ctk]>=14,<15" "numba-cuda[cu{generation}]>=0.30.4,<0.31"'


@functools.cache
def status() -> Status:
    """Look once: is CuPy there, a driver, one new enough, a card, and cuBLAS?

    The codes are ``ok``, ``no-cupy``, ``two-cupys``, ``broken-cupy``, ``no-driver``, ``old-driver``,
    ``no-device`` and ``no-cublas``.

    >>> isinstance(status().message, str)
    True
    """
    driver = driver_version()
    wheels = cupy_wheels()
    if importlib.util.find_spec("cupy") is None:
        return Status(False, "no-cupy", f"CuPy is not installed. {_advice(driver)}")
    if len(wheels) > 1:
        return Status(
            False,
            "two-cupys",
            f"{' and '.join(wheels)} are installed together and overwrite each other's files. Run:"
            f" pip uninstall -y {' '.join(wheels)} && {install_line(_generation(driver))}",
        )
    try:
        cupy: Any = importlib.import_module("cupy")
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        return Status(
            False,
            "broken-cupy",
            f"CuPy is installed but cannot be imported ({type(error).__name__}: {first}). Run:"
            f" {install_line(_generation(driver)).replace('install', 'install --force-reinstall', 1)}",
        )
    built = cupy.cuda.runtime.runtimeGetVersion()
    found = cupy.cuda.runtime.driverGetVersion()
    if found == 0:
        return Status(
            False,
            "no-driver",
            f"CuPy {cupy.__version__} is installed, but no NVIDIA driver (libcuda) was found. Install a"
            f" driver, version {DRIVERS.get(built // 1000, '580')} or newer; in a container, start it with"
            " --gpus all.",
        )
    if found // 1000 < built // 1000:
        return Status(
            False,
            "old-driver",
            f"the NVIDIA driver runs CUDA up to {_version(found)}, but CuPy {cupy.__version__} was built for"
            f" CUDA {built // 1000}. Update the driver to {DRIVERS.get(built // 1000, '580')} or newer"
            + (_instead(found // 1000, wheels) if found // 1000 in DRIVERS else "")
            + ".",
        )
    try:
        count = cupy.cuda.runtime.getDeviceCount()
        reason = "the driver sees no card"
    except Exception as error:
        count, reason = 0, str(error)
    if count == 0:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        hint = "" if visible is None else f"; CUDA_VISIBLE_DEVICES is {visible!r}: unset it, or name a card"
        return Status(False, "no-device", f"no CUDA device can be used: {reason}{hint}. Try: nvidia-smi")
    try:
        importlib.import_module("cupy.cuda.cublas")
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
    """Return if card ``index`` (or any) can be used; RuntimeError with the cause and the remedy otherwise."""
    now = status()
    if not now.ok:
        raise RuntimeError(f"device 'gpu' cannot be used ({now.code}): {now.message}")
    count = sys.modules["cupy"].cuda.runtime.getDeviceCount()
    if index is not None and not 0 <= index < count:
        raise RuntimeError(
            f"CUDA error: invalid device ordinal: 'gpu:{index}' was asked for, but there are {count}"
            f" device(s), 'gpu:0' to 'gpu:{count - 1}'"
        )


def current_device() -> int:
    """The index of the card that ``"gpu"`` without a number means; RuntimeError where there is none."""
    require()
    return int(sys.modules["cupy"].cuda.Device().id)


def driver_version() -> int:
    """What the driver library itself says, e.g. 13000 for CUDA 13.0; 0 where there is none."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    version = ctypes.c_int(0)
    try:
        failed = ctypes.CDLL(name).cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return 0
    return 0 if failed else version.value


def cupy_wheels() -> list[str]:
    """The distributions that bring a module ``cupy``."""
    names = {
        str(one.metadata["Name"]).lower()
        for one in importlib.metadata.distributions()
        if str(one.metadata["Name"]).lower().partition("-")[0] == "cupy"
    }
    return sorted(names)


def _generation(driver: int) -> int:
    """The CUDA generation to install for this driver: 12 for an older one, else 13."""
    return 12 if 12000 <= driver < 13000 else 13


def _advice(driver: int) -> str:
    if driver == 0:
        return (
            f"There is no NVIDIA driver (libcuda) either. With a card and a driver from version {DRIVERS[13]}"
            f" on, run: {install_line(13)}   (from {DRIVERS[12]} on: {install_line(12)})"
        )
    if driver < 12000:
        return (
            f"The NVIDIA driver runs CUDA up to {_version(driver)}; update it to {DRIVERS[13]} or newer, then"
            f" run: {install_line(13)}"
        )
    return f"Run: {install_line(_generation(driver))}"


def _instead(generation: int, wheels: list[str]) -> str:
    remove = f"pip uninstall -y {' '.join(wheels)} && " if wheels else ""
    return f", or run: {remove}{install_line(generation)}"


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
