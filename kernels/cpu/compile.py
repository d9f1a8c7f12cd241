"""Compilation of the CPU kernels: one decorator, and the folder that keeps the machine code.

Nothing is compiled at import.  A function is compiled at its first call with given types, or loaded from
disk if some earlier process has compiled it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import llvmlite
import numba
import numpy as np

from accelgrad.kernels import updates

__all__ = ["cache_folder", "compiled_at", "jit"]

# The flags under which LLVM may use x * y + z in one instruction, and, with "reassoc", several partial sums.
# NaN and the infinities keep their meaning in both.
CONTRACT = {"contract"}
REASSOCIATE = {"contract", "reassoc", "nsz"}

config: Any = numba.config

_KEEP_SECONDS = 30 * 24 * 3600


def user_cache() -> pathlib.Path:
    """Where programs of this user keep what they can make again."""
    if sys.platform == "win32":
        return pathlib.Path(os.environ.get("LOCALAPPDATA") or pathlib.Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return pathlib.Path.home() / "Library" / "Caches"
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")


def _writable(folder: pathlib.Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def sources() -> list[pathlib.Path]:
    """The files whose functions are compiled: these, and the formulas of the optimizers."""
    return [*sorted(pathlib.Path(__file__).parent.glob("*.py")), pathlib.Path(updates.__file__)]


def _fingerprint() -> str:
    """Numba compares the file of a function alone with its cache.

    Here functions are inlined from other files.
    """
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {np.__version__}".encode())
    for file in sources():
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _find_cache_folder() -> str | None:
    roots: list[pathlib.Path] = []
    if config.CACHE_DIR:  # the user's NUMBA_CACHE_DIR
        roots.append(pathlib.Path(config.CACHE_DIR))
    else:
        with contextlib.suppress(RuntimeError):  # no home folder
            roots.append(user_cache())
    for root in roots:
        folder = root / "accelgrad" / _fingerprint()
        if _writable(folder):
            _forget_old(folder)
            return str(folder)
    return None


def _forget_old(folder: pathlib.Path) -> None:
    """Delete the machine code of other versions that nobody has asked for in a month."""
    with contextlib.suppress(OSError):
        os.utime(folder)
        for other in folder.parent.iterdir():
            if other != folder and time.time() - other.stat().st_mtime > _KEEP_SECONDS:
                shutil.rmtree(other, ignore_errors=True)


_folder: str | None = None
_searched = False


def cache_folder() -> str | None:
    """The folder that keeps the compiled kernels.

    None where nothing can be written, and each process compiles.
    """
    global _folder, _searched
    if not _searched:
        _folder, _searched = _find_cache_folder(), True
    return _folder


@contextlib.contextmanager
def _caching(folder: str) -> Iterator[None]:
    """Numba reads the folder for machine code from its configuration, while a function is decorated."""
    before = config.CACHE_DIR
    config.CACHE_DIR = folder
    try:
        yield
    finally:
        config.CACHE_DIR = before


def jit(fastmath: set[str] | bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile by Numba's ``njit``: without the GIL (see threads.py), cached on disk wherever that works.

    Division is NumPy's.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        settings = {"nogil": True, "error_model": "numpy", "fastmath": fastmath, **options}
        folder = cache_folder()
        if folder is not None:
            with _caching(folder), contextlib.suppress(RuntimeError):  # the folder may have gone away
                return numba.njit(cache=True, **settings)(function)
        return numba.njit(**settings)(function)

    return decorate


def compiled_at(function: Callable[..., Any], signature: Any, fastmath: set[str] | bool = False) -> int:
    """The address of ``function`` compiled for ``signature``, for calls from other compiled functions.

    A function that is called in the ordinary way is compiled again into each of its callers; one that is
    large, like the matrix product, had better be compiled once and called where it lies.  Its code is never
    freed.
    """
    settings: dict[str, Any] = {"error_model": "numpy", "fastmath": fastmath}
    folder = cache_folder()
    compiled: Any = None
    if folder is not None:
        with _caching(folder), contextlib.suppress(RuntimeError):
            compiled = numba.cfunc(signature, cache=True, **settings)(function)
    if compiled is None:
        compiled = numba.cfunc(signature, **settings)(function)
    _kept.append(compiled)
    return compiled.address


_kept: list[Any] = []  # what must outlive its address
