"""The stand-in's array: NumPy's numbers under CuPy's rules.

Only CuPy's methods exist; nothing is converted or moved by itself; 0-d results stay arrays; arrays of another
device than the current one are refused; whatever makes the host wait is counted.
"""

from __future__ import annotations

import json
import operator
import pathlib
import weakref
from typing import Any

import numpy as np

from cupy import cuda

API = json.loads((pathlib.Path(__file__).parent / "api.json").read_text())
METHODS = frozenset(API["ndarray"])
# ufunc.at of CuPy is written with atomic additions, which the card has for these types only
AT_TYPES = "ilqILQefd"


class ndarray:
    """An array on a pretended device."""

    __slots__ = ("__weakref__", "_device", "_host", "_memory")
    __hash__ = None  # type: ignore[assignment]
    __array_priority__ = 100

    def __new__(cls, shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
        return wrap(np.empty(shape, dtype, order))

    # --- what it is

    @property
    def dtype(self) -> np.dtype:
        return self._host.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self._host.shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        self._host.shape = shape

    @property
    def device(self) -> cuda.Device:
        return cuda.Device(self._device)

    @property
    def data(self) -> cuda.MemoryPointer:
        address = self._host.__array_interface__["data"][0]
        pointer = cuda.MemoryPointer(self._memory, 0)
        pointer.ptr = address
        return pointer

    @property
    def base(self) -> Any:
        return wrap(self._host.base, (self,)) if isinstance(self._host.base, np.ndarray) else None

    def __getattr__(self, name: str) -> Any:
        if name not in METHODS:
            raise AttributeError(f"'ndarray' object has no attribute '{name}'")
        value = getattr(self._host, name)
        if not callable(value):
            return give(value, (self,)) if isinstance(value, np.ndarray | np.generic) else value

        def method(*args: Any, **kwargs: Any) -> Any:
            if name != "copy":  # which copies from another device to the current one
                check(self)
            if name in ("nonzero", "compress"):
                cuda.count_sync()
            out = kwargs.get("out")
            options = {key: plain(one) for key, one in kwargs.items()}
            if name == "diagonal":
                return give(_writable(value(*args, **kwargs)), (self,))
            if name == "astype" and isinstance(options.get("copy"), type(None)):
                options.pop("copy", None)
            result = value(*[plain(one) for one in args], **options)
            return out if isinstance(out, ndarray) else give(result, (self,))

        return method

    # --- what makes the host wait

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        cuda.count_sync()
        return self._host.copy()

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray) or arr.shape != self.shape or arr.dtype != self.dtype:
            raise ValueError("set needs a numpy.ndarray of the same shape and dtype")
        pinned = page_locked(arr)
        if stream is None or pinned is None:
            self._host[...] = arr
            return
        start = arr.__array_interface__["data"][0] - np.frombuffer(pinned, np.uint8).ctypes.data
        layout, memory, target = (arr.shape, arr.dtype), weakref.ref(pinned), self._host

        def fetch() -> None:
            alive = memory()
            if alive is None:  # the pool has it back, and somebody else writes there
                target.view(np.uint8)[...] = 0xFF
            else:
                target[...] = np.ndarray(*layout, buffer=alive, offset=start)

        cuda.fetch_later(fetch)

    def item(self, *args: Any) -> Any:
        cuda.count_sync()
        return self._host.item(*args)

    def tolist(self) -> Any:
        cuda.count_sync()
        return self._host.tolist()

    def __float__(self) -> float:
        cuda.count_sync()
        return float(self._host)

    def __int__(self) -> int:
        cuda.count_sync()
        return int(self._host)

    def __bool__(self) -> bool:
        cuda.count_sync()
        return bool(self._host)

    def __repr__(self) -> str:
        cuda.count_sync()
        return repr(self._host)

    def __contains__(self, other: Any) -> bool:
        raise ValueError("The truth value of an array with more than one element is ambiguous.")

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Any:
        return iter([self[i] for i in range(len(self._host))])

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy"
            " array explicitly."
        )

    # --- indexing

    def __getitem__(self, index: Any) -> ndarray:
        check(self)
        return give(self._host[indices(self, index)], (self,))

    def __setitem__(self, index: Any, value: Any) -> None:
        check(self)
        if isinstance(value, np.ndarray) and value.ndim:
            raise TypeError(f"Unsupported type {type(value)}")
        if isinstance(value, list | tuple):
            raise TypeError(f"Unsupported type {type(value)}")
        self._host[indices(self, index)] = plain(value, host=True)

    # --- arithmetic

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return run_ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, kinds: Any, args: Any, kwargs: Any) -> Any:
        import cupy

        return getattr(cupy, function.__name__)(*args, **kwargs)

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> ndarray:
        return self.copy()

    def __reduce__(self) -> Any:
        import cupy

        return cupy.asarray, (self.get(),)


def _binary(ufunc: Any) -> tuple[Any, Any, Any]:
    def left(self: ndarray, other: Any) -> Any:
        return NotImplemented if deferred(other) else run_ufunc(ufunc, "__call__", (self, other), {})

    def right(self: ndarray, other: Any) -> Any:
        return NotImplemented if deferred(other) else run_ufunc(ufunc, "__call__", (other, self), {})

    def inplace(self: ndarray, other: Any) -> Any:
        if ufunc is np.matmul:
            raise AttributeError("'ndarray' object has no attribute '__imatmul__'")
        return run_ufunc(ufunc, "__call__", (self, other), {"out": (self,)})

    return left, right, inplace


def deferred(other: Any) -> bool:
    """Whether the other operand's own operator comes first: CuPy's rule, which leaves nothing to an object
    that takes part in NumPy's ufuncs, a Tensor for instance.
    """
    if isinstance(other, ndarray):
        return False
    if hasattr(type(other), "__array_ufunc__"):
        return type(other).__array_ufunc__ is None
    return getattr(other, "__array_priority__", 0) > 100


for _name, _ufunc in {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder, "pow": np.power, "matmul": np.matmul, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "lshift": np.left_shift, "rshift": np.right_shift, "divmod": np.divmod,
}.items():  # fmt: skip
    _left, _right, _inplace = _binary(_ufunc)
    setattr(ndarray, f"__{_name}__", _left)
    setattr(ndarray, f"__r{_name}__", _right)
    if _name != "divmod":
        setattr(ndarray, f"__i{_name}__", _inplace)
for _name, _ufunc in {
    "lt": np.less, "le": np.less_equal, "eq": np.equal, "ne": np.not_equal, "gt": np.greater,
    "ge": np.greater_equal,
}.items():  # fmt: skip
    setattr(ndarray, f"__{_name}__", _binary(_ufunc)[0])
for _name, _ufunc in {
    "neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert
}.items():  # fmt: skip

    def _unary(self: ndarray, ufunc: Any = _ufunc) -> Any:
        return run_ufunc(ufunc, "__call__", (self,), {})

    setattr(ndarray, f"__{_name}__", _unary)


def _low(ufunc: Any, given: list[Any]) -> list[Any]:
    """cuBLAS multiplies matrices of bfloat16 in float32; of stacks of them CuPy 14 does not know the type."""
    if ufunc is not np.matmul or not any(getattr(one, "dtype", np.dtype(int)).char == "E" for one in given):
        return given
    if any(one.ndim > 2 for one in given):
        raise TypeError("data type 'E' not understood")
    return [one.astype(np.float32) for one in given]


def run_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """A ufunc as CuPy has it: without where=, without most methods, only on arrays of the current device."""
    if method == "reduce" or method == "accumulate":
        if ufunc not in (np.add, np.multiply):
            raise NotImplementedError(f"`cupy_{ufunc.__name__}.{method}` is not supported yet")
    elif method == "at":
        if plain(inputs[0]).dtype.char not in AT_TYPES:
            raise TypeError(f"cupy_{ufunc.__name__}.at has no atomic form for {inputs[0].dtype}")
    elif method not in ("__call__", "outer"):
        raise NotImplementedError(f"`cupy_{ufunc.__name__}.{method}` is not supported yet")
    unknown = set(options) - {"out", "dtype", "axis", "keepdims", "casting"}
    if unknown:
        raise TypeError(f"Wrong arguments {sorted(unknown)}")
    for one in inputs:
        check(one)
        known = isinstance(one, ndarray | np.ndarray | np.generic | int | float | complex)
        if not known and (method != "at" or not isinstance(one, tuple | list | slice)):
            raise TypeError(f"Unsupported type {type(one)}")
    out = options.pop("out", None)
    if out is not None:
        out = out if isinstance(out, tuple) else (out,)
        options["out"] = tuple(plain(one) for one in out)
    with np.errstate(all="ignore"):  # the card raises no floating point warnings
        given = [plain(one) for one in inputs]
        if method == "at":
            given[1] = indices(inputs[0], inputs[1])
        result = getattr(ufunc, method)(*_low(ufunc, given), **options)
        if ufunc is np.matmul and all(getattr(one, "dtype", np.dtype(int)).char == "E" for one in given):
            result = result.astype(given[0].dtype)
    if out is not None:
        return out[0] if len(out) == 1 else out
    return give(result, inputs)


def indices(array: ndarray, index: Any) -> Any:
    """The index for NumPy: positions beyond the end wrap around, as on the card; masks synchronise."""
    parts = list(index) if isinstance(index, tuple) else [index]
    used = 0
    for part in parts:
        if part is None or part is Ellipsis:
            continue
        used += part.ndim if isinstance(part, ndarray) and part.dtype.kind == "b" else 1
    axis, result = 0, []
    for part in parts:
        if part is None:
            result.append(part)
            continue
        if part is Ellipsis:
            axis += array._host.ndim - used
            result.append(part)
            continue
        if isinstance(part, np.ndarray):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>: an index array must lie on the device")
        if isinstance(part, ndarray):
            check(part)
            if part.dtype.kind == "b":
                cuda.count_sync()
                result.append(part._host)
                axis += part.ndim
                continue
            if part.dtype.kind not in "iu":
                raise IndexError("arrays used as indices must be of integer or boolean type")
            extent = array._host.shape[axis] if axis < array._host.ndim else 1
            result.append(part._host % extent if extent else part._host)
        else:
            if isinstance(part, slice):
                for bound in (part.start, part.stop, part.step):
                    if bound is not None:
                        operator.index(bound)
            result.append(part)
        axis += 1
    return tuple(result) if isinstance(index, tuple) else result[0]


def page_locked(array: np.ndarray) -> Any:
    """The page-locked memory behind a NumPy array, or None."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    base = base.obj if isinstance(base, memoryview) else base
    return base if isinstance(base, cuda.PinnedMemoryPointer) else None


def check(value: Any) -> None:
    """CuPy refuses arrays that do not lie on the current device."""
    cuda.fetch_now()
    if isinstance(value, ndarray) and value._device != cuda.current.device:
        raise ValueError(
            f"Array device must be same as the current device: array device = {value._device} while current ="
            f" {cuda.current.device}"
        )


def plain(value: Any, host: bool = False) -> Any:
    """The NumPy array inside; TypeError for a NumPy array that was never moved to the device."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, tuple | list):
        return type(value)(plain(one, host) for one in value)
    if isinstance(value, np.ndarray) and not host:
        raise TypeError(f"Unsupported type {type(value)}")
    return value


def wrap(host: np.ndarray, sources: tuple[Any, ...] = ()) -> ndarray:
    """An array around NumPy's; it shares the memory block of the source whose memory it shows."""
    self = object.__new__(ndarray)
    self._host = host
    self._device = cuda.current.device
    for source in sources:
        if isinstance(source, ndarray) and (source._host is host or np.may_share_memory(host, source._host)):
            self._memory = source._memory
            return self
    self._memory = cuda.alloc(host.nbytes).mem
    return self


def _writable(view: np.ndarray) -> np.ndarray:
    view.setflags(write=True)
    return view


def give(result: Any, sources: tuple[Any, ...] = ()) -> Any:
    """What a function returns: NumPy's arrays and scalars become arrays here, 0-d ones too."""
    if isinstance(result, tuple):
        parts = [give(one, sources) for one in result]
        return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
    if isinstance(result, list):
        return [give(one, sources) for one in result]
    if isinstance(result, np.ndarray | np.generic):
        return wrap(np.asarray(result), sources)
    return result
