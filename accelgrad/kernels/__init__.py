"""The overlay: kernels of our own laid over an array module, name by name.

An operation asks its array module for a name (``xp.sum``, ``xp.matmul``, ``xp.softmax``).  What it gets is

* the array module's own function (``numpy.sum``), or, for a fused step that NumPy has no name for, the
  formula of that name in :mod:`accelgrad.kernels.plain`;
* unless a registered kernel *accepts* the arguments, and, in the mode ``auto``, was measured to be *faster*
  there.

Operations never mention a kernel, and adding a kernel changes no line outside ``kernels/``.  Where Numba
cannot be imported everything still runs; the reason is recorded in :data:`missing`.

>>> import accelgrad
>>> accelgrad.kernels.mode() in accelgrad.kernels.MODES
True
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import pathlib
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = [
    "MODES",
    "Kernel",
    "kernel",
    "missing",
    "mode",
    "resolve",
    "set_num_threads",
    "get_num_threads",
    "use",
]

MODES = ("auto", "numba", "off")

# In a source checkout the device folders lie at the repository's top, in kernels/cpu and kernels/cuda; an
# installed copy has them inside this package (setup.cfg maps them).  The top folder has no __init__.py, so it
# can never hide an installed package that is called "kernels".
_here = pathlib.Path(__file__).resolve().parent
if not (_here / "cpu").is_dir():
    __path__.append(str(_here.parent.parent / "kernels"))


@dataclass(frozen=True)
class Kernel:
    """One implementation of a name on one kind of device."""

    name: str
    device: str
    call: Callable[..., Any]
    accepts: Callable[..., bool]
    faster: Callable[..., bool]


_kernels: dict[tuple[str, str], list[Kernel]] = {}
missing: dict[tuple[str, str], str] = {}
"""Why the kernels of a (device, file) or (device, name) cannot be used: ``{("cpu", "reduce"): "ImportError:
..."}``."""


def always(*args: Any, **kwargs: Any) -> bool:
    """The predicate that accepts every argument."""
    return True


def kernel(
    name: str,
    device: str,
    *,
    accepts: Callable[..., bool] = always,
    faster: Callable[..., bool] = always,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as an implementation of ``xp.<name>`` on ``device`` ("cpu" or "cuda").

    ``accepts(*args, **kwargs)`` is its whole contract: it is called with the arguments of the call, and only
    where it is true may the kernel run.  ``faster`` is asked only in the mode ``auto`` and says where the
    kernel was measured to win.  Several kernels may share a name: the first that accepts is taken.  What
    only the running kernel can see (a bad index, an odd list of arrays) it answers with ``NotImplemented``,
    before anything was written; then the array module or the plain formula runs.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        if not function.__module__.startswith("accelgrad.kernels."):
            raise ImportError(
                f"the kernel {name!r} was imported as {function.__module__!r};"
                f" import it as accelgrad.kernels.{device}.{function.__module__.rpartition('.')[2]},"
                " or it would register twice"
            )
        entries = _kernels.setdefault((device, name), [])
        entries[:] = [entry for entry in entries if entry.call.__qualname__ != function.__qualname__]
        entries.append(Kernel(name, device, function, accepts, faster))
        return function

    return register


# --- modes and threads

_mode = "auto"
_forgetters: list[Callable[[], None]] = []


class _Blocks(threading.local):
    """The modes of the ``with use(...):`` blocks that this thread is in, the innermost last."""

    def __init__(self) -> None:
        self.modes: list[str] = []


_blocks = _Blocks()
_open_blocks = 0
_counting = threading.Lock()


def mode() -> str:
    """Return the mode in force in this thread: ``"auto"``, ``"numba"`` or ``"off"``."""
    return _blocks.modes[-1] if _blocks.modes else _mode


def _checked(new: str) -> str:
    if new not in MODES:
        raise ValueError(f"kernels mode {new!r} is not known; choose one of {', '.join(MODES)}")
    return new


def _set_mode(new: str) -> None:
    """Set the mode of the process."""
    global _mode
    _mode = _checked(new)
    forget()


def forget() -> None:
    """Let every array module resolve its names anew, of which it has kept the results."""
    for one in _forgetters:
        one()


class _Block(contextlib.ContextDecorator):
    """A mode within a ``with`` block, for the thread that opened it.

    While any thread is in a block, names resolve to functions that ask for the mode at each call; otherwise
    to the choice itself, so that ordinarily no call pays for it.
    """

    def __init__(self, mode: str) -> None:
        self.mode = _checked(mode)

    def __enter__(self) -> _Block:
        _count(+1)
        _blocks.modes.append(self.mode)
        return self

    def __exit__(self, *exception: object) -> None:
        _blocks.modes.pop()
        _count(-1)


def _count(change: int) -> None:
    global _open_blocks
    with _counting:
        before, _open_blocks = _open_blocks, _open_blocks + change
        if (before == 0) != (_open_blocks == 0):
            forget()


class use(_Block):
    """Choose the kernels: for the process from here on, or for this thread within a ``with`` block.

    ``auto`` takes a kernel where it was measured to be faster, ``numba`` takes every kernel that accepts its
    arguments (for lessons and tests), ``off`` takes the array module alone.

    >>> import accelgrad
    >>> with accelgrad.kernels.use("off"):
    ...     accelgrad.kernels.mode()
    'off'
    """

    def __init__(self, mode: str) -> None:
        super().__init__(mode)
        self.before = _mode
        _set_mode(mode)

    def __enter__(self) -> _Block:
        # It is a block: the process keeps its mode.
        _set_mode(self.before)
        return super().__enter__()

    def __call__(self, func: Any) -> Any:
        # It is a decorator: each call of the function is a block.
        _set_mode(self.before)
        return super().__call__(func)

    def _recreate_cm(self) -> _Block:  # type: ignore[override]
        return _Block(self.mode)


_threads: int | None = None


def set_num_threads(number: int) -> None:
    """Let our CPU kernels use at most ``number`` threads; 1 takes the serial twins."""
    global _threads
    if not isinstance(number, int) or number < 1:
        raise ValueError(f"set_num_threads expects a positive integer, got {number!r}")
    _threads = number


def get_num_threads() -> int:
    """How many threads our CPU kernels may use: ``set_num_threads``, or the cores this process may run on."""
    global _threads
    if _threads is None:
        asked = os.environ.get("NUMBA_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        _threads = min(int(asked), available) if asked.isdigit() and int(asked) > 0 else available
    return _threads


# --- resolution

PATIENCE = 50  # calls of an optimizer's step, say, after which the half second of Numba's import will pay


def contents(device: str) -> dict[str, tuple[str, int | None]]:
    """The table of contents of ``kernels/<device>``: name -> (file, least size).

    ``least size`` is the number of elements of the first argument (for a list of arrays: of all of them)
    below which the mode ``auto`` does not even look at the kernels, so that small work never imports Numba;
    None says that ``auto`` never takes them.  A name with the least size 0 pays at any size, once Numba is
    there: in a process that has not imported it, ``auto`` waits for the call number ``PATIENCE``.  So that
    nobody can tell when that was, such a kernel must give the plain formula's results to the last bit.
    """
    try:
        return importlib.import_module(f"{__name__}.{device}").CONTENTS
    except ImportError as error:
        missing[(device, "")] = f"{type(error).__name__}: {error}"
        return {}


def load(name: str, device: str) -> list[Kernel]:
    """The registered kernels of a name, importing their file at first use.

    [] with a recorded reason if that fails.
    """
    entry = contents(device).get(name)
    if entry is None:
        return _kernels.get((device, name), [])
    file = entry[0]
    if (device, file) not in missing:
        try:
            importlib.import_module(f"{__name__}.{device}.{file}")
        except Exception as error:  # an unusable Numba must never stop a program that runs without it
            missing[(device, file)] = f"{type(error).__name__}: {error}"
    return _kernels.get((device, name), [])


def resolve(name: str, xp: Any) -> Any:
    """What ``xp.<name>`` stands for in the present mode; AttributeError where nobody has that name."""
    base = xp.base(name) if hasattr(xp, "base") else getattr(xp.module, name, None)
    if base is None:
        plain = importlib.import_module(f"{__name__}.plain")
        formula = getattr(plain, name, None)
        if formula is None:
            raise AttributeError(f"neither {xp.module.__name__} nor accelgrad.kernels.plain has {name!r}")
        base = functools.partial(formula, xp)
    kind = xp.kernel_device
    if not callable(base) or contents(kind).get(name) is None:
        return base
    return _asking(name, kind, base) if _open_blocks else _chosen(name, kind, base, _mode)


def _chosen(name: str, kind: str, base: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """Return what a name stands for in a mode: the array module's function, or one that looks for kernels."""
    least = 0 if mode == "numba" else contents(kind)[name][1]
    if mode == "off" or least is None:
        return base
    return _dispatcher(name, kind, base, least, every=mode == "numba")


def _asking(name: str, kind: str, base: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that asks at each call for the mode of the thread."""
    chosen = {one: _chosen(name, kind, base, one) for one in MODES}

    def ask(*args: Any, **kwargs: Any) -> Any:
        return chosen[mode()](*args, **kwargs)

    ask.__name__ = name
    return ask


def _dispatcher(
    name: str, kind: str, base: Callable[..., Any], least: int, *, every: bool
) -> Callable[..., Any]:
    entries: list[Kernel] | None = None
    waits = PATIENCE if least == 0 and not every else 0

    def dispatch(x: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal entries, waits
        if type(x) is list:  # the arrays of an optimizer's step
            size = sum([y.size for y in x]) if x and hasattr(x[0], "size") else -1
        else:  # Python's numbers are no matter for a kernel
            size = getattr(x, "size", -1)
        if size >= least:
            if entries is None:
                if waits and "numba" not in sys.modules:
                    waits -= 1
                    return base(x, *args, **kwargs)
                entries = load(name, kind)
            for entry in entries:
                if entry.accepts(x, *args, **kwargs) and (every or entry.faster(x, *args, **kwargs)):
                    try:
                        result = entry.call(x, *args, **kwargs)
                    except Exception as error:
                        if not type(error).__module__.startswith("numba."):
                            raise
                        # It could not be compiled here, so nothing was written yet, and never will be.
                        missing[(kind, name)] = f"{type(error).__name__}: {error}"
                        entries = []
                        break
                    if result is not NotImplemented:
                        return result
        return base(x, *args, **kwargs)

    dispatch.__name__ = name
    return dispatch


def report(device: str = "cpu") -> Iterator[tuple[str, str, str]]:
    """Per name of ``kernels/<device>``: (name, what is used, why); ``accelgrad.show_config()`` prints it."""
    present = mode()
    for name, (file, least) in sorted(contents(device).items()):
        entries = [] if present == "off" else load(name, device)
        if present == "off":
            yield name, "array module", "kernels are off"
        elif reason := missing.get((device, file)) or missing.get((device, name)):
            yield name, "array module", reason
        elif present == "numba":
            yield name, "numba", f"{len(entries)} kernel(s), wherever they accept"
        elif least is None:
            yield name, "array module", "measured to be faster than our kernel"
        else:
            yield (
                name,
                "numba",
                f"{len(entries)} kernel(s), from {least:,} elements, where measured to be faster",
            )


_set_mode(os.environ.get("ACCELGRAD_KERNELS", "auto") or "auto")
