"""A stand-in for CuPy on NumPy arrays with CuPy's rules, for tests on machines without a card.

It has the names and keywords that ``api.json`` lists (``tests/standin/snapshot.py`` wrote it from a real
CuPy), raises what CuPy raises, keeps 0-d results as arrays, and counts in ``cupy.cuda.counts`` how often the
host had to wait.
"""

from __future__ import annotations

import types
from typing import Any

import numpy as np

from cupy import cuda
from cupy._array import API, check, give, ndarray, plain, run_ufunc, wrap

ndarray.__module__ = "cupy"
__version__ = f"{API['version']}"
_FUNCTIONS, _LINALG = API["functions"], API["linalg"]

# Functions that make arrays of numbers; the first row takes NumPy's arrays: an explicit copy to the device.
_FROM_HOST = frozenset(("asarray", "array", "ascontiguousarray", "asanyarray", "asfortranarray"))
_MAKERS = _FROM_HOST | {
    "zeros", "ones", "empty", "full", "arange", "linspace", "logspace", "eye", "identity", "tri",
    "indices", "broadcast_shapes", "result_type", "promote_types", "can_cast", "min_scalar_type",
    "isscalar", "issubdtype", "isdtype", "tril_indices", "triu_indices", "hanning", "hamming",
    "bartlett", "blackman", "kaiser", "array_equal", "finfo", "iinfo", "get_printoptions",
    "iscomplexobj", "isrealobj", "ndim", "shape", "size", "typename", "common_type", "ix_", "meshgrid",
}  # fmt: skip
_WAITING = frozenset((
    "nonzero", "flatnonzero", "argwhere", "unique", "unique_all", "unique_counts", "unique_inverse",
    "unique_values", "extract", "compress", "union1d", "intersect1d", "setdiff1d", "allclose",
    "array_equal", "array_equiv", "bincount", "trim_zeros", "histogram", "asnumpy",
))  # fmt: skip


def asnumpy(
    a: Any, stream: Any = None, order: str = "C", out: Any = None, *, blocking: bool = True
) -> np.ndarray:
    """A NumPy copy of an array; the host waits for it."""
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def get_array_module(*args: Any) -> Any:
    """This module if an argument is one of its arrays, else NumPy."""
    import cupy

    return cupy if any(isinstance(one, ndarray) for one in args) else np


def get_default_memory_pool() -> cuda.MemoryPool:
    """The pool behind the default allocator."""
    return cuda.pool


class _Ufunc:
    """A ufunc of CuPy: NumPy's, under CuPy's rules."""

    def __init__(self, ufunc: np.ufunc) -> None:
        self.ufunc, self.__name__ = ufunc, f"cupy_{ufunc.__name__}"
        self.nin, self.nout = ufunc.nin, ufunc.nout

    def __call__(self, *args: Any, **options: Any) -> Any:
        for one in args:
            if isinstance(one, np.ndarray | list | tuple) or one is None:
                raise TypeError(f"Unsupported type {type(one)}")
        if len(args) == self.ufunc.nin + 1:
            *args, options["out"] = args  # type: ignore[assignment]
        if options.get("out", 0) is None:
            options.pop("out")
        return run_ufunc(self.ufunc, "__call__", tuple(args), options)

    def __getattr__(self, name: str) -> Any:
        if name not in ("at", "reduce", "accumulate", "outer", "reduceat"):
            raise AttributeError(name)
        return lambda *args, **options: run_ufunc(self.ufunc, name, args, options)


def _holds_array(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(_holds_array(one) for one in value)
    return isinstance(value, ndarray)


def _check_all(value: Any) -> None:
    check(value)
    if isinstance(value, tuple | list):
        for one in value:
            _check_all(one)


def _function(name: str, target: Any, keywords: list[str]) -> Any:
    def function(*args: Any, **kwargs: Any) -> Any:
        unknown = set(kwargs) - set(keywords)
        if unknown and "**" not in keywords:
            raise TypeError(f"{name}() got an unexpected keyword argument {min(unknown)!r}")
        if name not in _MAKERS and not _holds_array((args, tuple(kwargs.values()))):
            raise TypeError(
                f"{name}: only cupy.ndarray is accepted, got {[type(one).__name__ for one in args]}"
            )
        for one in (*args, *kwargs.values()):
            _check_all(one)
        if name in _WAITING or (name == "where" and len(args) == 1):
            cuda.count_sync()
        host = name in _FROM_HOST
        if name == "take":
            args, kwargs = _wrapped_take(*args, **kwargs)
        elif name == "take_along_axis":
            args = (
                args[0],
                _wrapped(args[1], args[0], args[2] if len(args) > 2 else kwargs.get("axis", -1)),
                *args[2:],
            )
        out = kwargs.get("out")
        with np.errstate(all="ignore"):
            result = target(
                *[plain(one, host) for one in args], **{key: plain(one, host) for key, one in kwargs.items()}
            )
        if isinstance(out, ndarray):
            return out
        if name == "matmul" and all(one.dtype.char == "E" for one in args):
            return run_ufunc(np.matmul, "__call__", args, {})
        if name == "where" and len(args) == 3 and result.dtype.char == "E":
            result = result.astype(np.float32)  # CuPy's where has no form for bfloat16
        if name in ("einsum", "cumsum", "cumprod") and result.dtype.char == "E":
            raise TypeError("data type 'E' not understood")
        if host and isinstance(args[0], np.ndarray) and result is args[0]:
            result = result.copy()
        if name == "diagonal":  # a view that may be written, on the card
            result.flags.writeable = plain(args[0], host).flags.writeable
        elif name == "broadcast_to":
            result = np.lib.stride_tricks.as_strided(plain(args[0], host), result.shape, result.strides)
        return give(result, tuple(one for one in args if isinstance(one, ndarray)))

    function.__name__ = name
    return function


def _wrapped(index: Any, array: Any, axis: int | None) -> Any:
    """Positions beyond the end wrap around silently, as on the card."""
    extent = array.size if axis is None else array.shape[axis]
    return wrap(index._host % extent, (index,)) if isinstance(index, ndarray) and extent else index


def _wrapped_take(a: Any, indices: Any, axis: int | None = None, out: Any = None) -> Any:
    if isinstance(indices, list | tuple):
        raise TypeError("take: indices must be a cupy.ndarray or a scalar")
    return (a, _wrapped(indices, a, axis), axis), ({} if out is None else {"out": out})


def _quiet(name: str, target: Any) -> Any:
    """CuPy's linear algebra does not raise for a singular matrix: the result is NaN."""

    def solver(a: Any, *rest: Any, **options: Any) -> Any:
        if name == "solve" and rest[0].ndim > 1 and a.shape[:-1] != rest[0].shape[:-1]:
            raise ValueError("a must have (..., M, M) shape and b must have (..., M, K)")
        try:
            return target(a, *rest, **options)
        except np.linalg.LinAlgError as error:
            if "must be" in str(error) or "square" in str(error):
                raise
            like = rest[0] if name == "solve" else a
            return np.full_like(like, np.nan)

    return solver


class _Linalg(types.ModuleType):
    LinAlgError = np.linalg.LinAlgError

    def __getattr__(self, name: str) -> Any:
        if name not in _LINALG:
            raise AttributeError(f"module 'cupy.linalg' has no attribute '{name}'")
        return _function(name, _quiet(name, getattr(np.linalg, name)), _LINALG[name])


class _Random(types.ModuleType):
    """CuPy's streams differ from NumPy's, so accelgrad draws on the host; only the seed is taken here."""

    seeded: int | None = None

    def seed(self, seed: int | None = None) -> None:
        _Random.seeded = seed


def _as_strided(x: Any, shape: Any = None, strides: Any = None) -> Any:
    check(x)
    return give(np.lib.stride_tricks.as_strided(plain(x), shape, strides), (x,))


lib = types.SimpleNamespace(stride_tricks=types.SimpleNamespace(as_strided=_as_strided))
linalg = _Linalg("cupy.linalg")
random = _Random("cupy.random")


_strided = _function("as_strided", np.lib.stride_tricks.as_strided, ["x", "shape", "strides"])
_known: dict[str, Any] = {
    "lib": types.SimpleNamespace(stride_tricks=types.SimpleNamespace(as_strided=_strided))
}


def __getattr__(name: str) -> Any:
    if name in _known:
        return _known[name]
    kind = _FUNCTIONS.get(name)
    if kind is None or name.startswith("_"):
        raise AttributeError(f"module 'cupy' has no attribute '{name}'")
    target = getattr(np, name)
    if kind == "attr":
        value = target
    elif kind == "ufunc":
        value = _Ufunc(target) if isinstance(target, np.ufunc) else _function(name, target, ["**"])
    else:
        value = _function(name, target, kind)
    _known[name] = (
        value  # not among the globals: CuPy has names like "any" that the code above needs as Python's
    )
    return value
