"""The element types under PyTorch's names, and the rules for operations on two of them.

Every :class:`dtype` stands for one NumPy dtype.  The promotion rules are PyTorch's, not NumPy's: types fall
into three categories (bool < integer < floating point).  Tensors with dimensions decide first, then
0-dimensional tensors, then Python numbers; the later ones count only if their category is higher.
Source: PyTorch documentation, "Tensor Attributes", section on ``torch.dtype``.

NumPy itself has no bfloat16.  The package ml_dtypes adds it, and is imported when the type is first needed.
NumPy gives it the kind ``"V"`` (raw bytes) and promotes it by rules of its own; so our code asks
:func:`is_floating` and :func:`promote_types`, and never NumPy.
"""

from __future__ import annotations

from builtins import bool as _builtin_bool
from builtins import float as _builtin_float
from builtins import int as _builtin_int
from typing import Any

import numpy as np

__all__ = [
    "dtype", "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
    "short", "int", "long", "half", "float", "double", "finfo", "iinfo", "is_floating",
    "get_default_dtype", "set_default_dtype", "promote_types", "can_cast",
]  # fmt: skip

Number = _builtin_bool | _builtin_int | _builtin_float
"""A Python number, wherever an operation takes one beside a Tensor."""


class dtype:
    """The type of a tensor's elements, e.g. ``accelgrad.float32``; there is one object of each.

    ``numpy`` is the NumPy dtype behind it.  ImportError from that attribute of bfloat16 if the package
    ml_dtypes is missing.

    >>> import accelgrad
    >>> accelgrad.float32.itemsize, accelgrad.float32.is_floating_point
    (4, True)
    """

    __slots__ = ("category", "name", "numpy", "title")

    def __init__(self, name: str, category: _builtin_int, title: str) -> None:
        self.name = name
        if name != "bfloat16":
            self.numpy = np.dtype(name)
        # 0 bool, 1 integer, 2 floating point
        self.category = category
        # The name of the older constructor: FloatTensor, LongTensor, ...
        self.title = title

    def __getattr__(self, name: str) -> Any:
        if name != "numpy":
            raise AttributeError(f"'dtype' object has no attribute {name!r}")
        # From now on it is an ordinary attribute.
        self.numpy = found = _bfloat16_of_numpy()
        _of_numpy[found] = self
        return found

    @property
    def is_floating_point(self) -> _builtin_bool:
        """Whether the elements are floating point numbers."""
        return self.category == 2

    @property
    def is_complex(self) -> _builtin_bool:
        """Whether the elements are complex numbers: always False, accelgrad has no complex types."""
        return False

    @property
    def is_signed(self) -> _builtin_bool:
        """Whether the elements can be negative."""
        return self.category == 2 or (self.category == 1 and self.numpy.kind == "i")

    @property
    def itemsize(self) -> _builtin_int:
        """The number of bytes of one element."""
        return self.numpy.itemsize

    def __repr__(self) -> str:
        return f"accelgrad.{self.name}"

    def __reduce__(self) -> str:
        # It pickles as this module's variable of that name.
        return self.name


bool = dtype("bool", 0, "BoolTensor")
uint8 = dtype("uint8", 1, "ByteTensor")
int8 = dtype("int8", 1, "CharTensor")
int16 = short = dtype("int16", 1, "ShortTensor")
int32 = int = dtype("int32", 1, "IntTensor")
int64 = long = dtype("int64", 1, "LongTensor")
float16 = half = dtype("float16", 2, "HalfTensor")
bfloat16 = dtype("bfloat16", 2, "BFloat16Tensor")
float32 = float = dtype("float32", 2, "FloatTensor")
float64 = double = dtype("float64", 2, "DoubleTensor")

ALL: tuple[dtype, ...] = (bool, uint8, int8, int16, int32, int64, bfloat16, float16, float32, float64)
_of_numpy: dict[Any, dtype] = {entry.numpy: entry for entry in ALL if entry is not bfloat16}
_of_name: dict[str, dtype] = {
    **{entry.name: entry for entry in ALL},
    "half": float16, "float": float32, "double": float64, "short": int16, "int": int32, "long": int64,
}  # fmt: skip
_of_python: dict[Any, dtype] = {_builtin_bool: bool, _builtin_int: int64}

_default = float32
"""The type of new floating point tensors (see :func:`set_default_dtype`)."""


def _bfloat16_of_numpy() -> np.dtype:
    """Return ml_dtypes' NumPy dtype bfloat16; ImportError if the package is missing."""
    try:
        import ml_dtypes
    except ImportError as error:
        raise ImportError(
            "bfloat16 needs the package ml_dtypes, which gives NumPy that type: pip install ml_dtypes"
        ) from error
    return np.dtype(ml_dtypes.bfloat16)


# --- a dtype from other things


def of(numpy_dtype: Any) -> dtype:
    """Return the accelgrad dtype of a NumPy dtype.

    TypeError for one that has none (strings, objects, complex numbers, uint16 ...).

    >>> of(np.dtype("float32"))
    accelgrad.float32
    """
    found = _of_numpy.get(numpy_dtype)
    if found is None:
        # A file in big-endian byte order still holds float32.
        native = np.dtype(numpy_dtype).newbyteorder("=")
        if native.name == "bfloat16":
            # The first use of the attribute puts the type into the table.
            _ = bfloat16.numpy
        found = _of_numpy.get(native)
    if found is None:
        hint = "; pass numbers, or encode the strings first" if np.dtype(numpy_dtype).kind in "OUS" else ""
        raise TypeError(
            f"can't convert np.ndarray of type numpy.{np.dtype(numpy_dtype).name}."
            f" The only supported types are: {', '.join(entry.name for entry in reversed(ALL))}{hint}"
        )
    return found


def as_dtype(value: Any) -> dtype:
    """Return the accelgrad dtype that a dtype, a Python type, a NumPy dtype or a name stands for.

    The Python type float stands for the default floating point type.  TypeError for anything that has no
    dtype here.

    >>> as_dtype("long"), as_dtype(np.float64)
    (accelgrad.int64, accelgrad.float64)
    """
    if isinstance(value, dtype):
        return value
    if value is _builtin_float:
        return _default
    if value in _of_python:
        return _of_python[value]
    if isinstance(value, str) and value in _of_name:
        return _of_name[value]
    try:
        return of(np.dtype(value))
    except TypeError:
        raise TypeError(
            f"dtype must be an accelgrad dtype such as accelgrad.float32, got {value!r}"
        ) from None


def as_numpy(value: Any) -> np.dtype:
    """Return the NumPy dtype for any way of naming a dtype (see :func:`as_dtype`)."""
    return as_dtype(value).numpy


def of_number(value: Any) -> dtype:
    """Return the type that a Python number counts as: bool, int64, or the default floating point type."""
    if isinstance(value, _builtin_bool):
        return bool
    return int64 if isinstance(value, _builtin_int) else _default


# --- kinds of types

FLOATING = "fV"
"""NumPy's kinds of floating point arrays.  ``V`` is bfloat16: no other type of that kind is in a Tensor."""

REDUCED = "eE"
"""NumPy's codes of the 16-bit types float16 and bfloat16, which formulas read as float32.

See :mod:`accelgrad.core.reduced`.
"""


def is_floating(numpy_dtype: np.dtype) -> _builtin_bool:
    """Tell whether a NumPy dtype is a floating point type, bfloat16 included.

    >>> is_floating(np.dtype("float16")), is_floating(np.dtype("int64"))
    (True, False)
    """
    return numpy_dtype.kind in FLOATING


# --- the default floating point type


def get_default_dtype() -> dtype:
    """Return the floating point type of new tensors: ``float32``, until :func:`set_default_dtype` is called.

    >>> get_default_dtype()
    accelgrad.float32
    """
    return _default


def set_default_dtype(d: dtype) -> None:
    """Set the type of new tensors made from Python floats, or without a dtype, in all threads.

    TypeError for anything but a floating point dtype.

    >>> import accelgrad
    >>> accelgrad.set_default_dtype(accelgrad.float64)
    >>> accelgrad.tensor(0.5).dtype
    accelgrad.float64
    >>> accelgrad.set_default_dtype(accelgrad.float32)
    """
    global _default
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise TypeError(f"only floating-point types are supported as the default type, got {d!r}")
    _default = d


# --- two types meet


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """Return the type of a result of two types: the one of the higher category, or the smallest for both.

    Of two types of one category it is the smallest type that holds the values of both.  For float16 and
    bfloat16 that is float32: one has more digits, the other the wider range.  TypeError for what is not a
    dtype.

    >>> promote_types(int64, float16), promote_types(uint8, int8)
    (accelgrad.float16, accelgrad.int16)
    >>> promote_types(bfloat16, float16), promote_types(bfloat16, int64)
    (accelgrad.float32, accelgrad.bfloat16)
    """
    first, second = as_dtype(type1), as_dtype(type2)
    if first.category != second.category:
        return first if first.category > second.category else second
    if first is second:
        return first
    if bfloat16 in (first, second):
        return float64 if float64 in (first, second) else float32
    return _of_numpy[np.promote_types(first.numpy, second.numpy)]


def can_cast(from_: dtype, to: dtype) -> _builtin_bool:
    """Tell whether values of type ``from_`` may be written into a tensor of type ``to``.

    They may if the category of ``to`` is not lower (bool < integer < floating point).  Within a category
    every type may be written into every other, even if digits are lost.  TypeError for what is not a dtype.

    >>> can_cast(float32, int64), can_cast(int64, float16)
    (False, True)
    """
    source, target = as_dtype(from_), as_dtype(to)
    return source.category <= target.category


def combine(with_dims: dtype | None, zero_dim: dtype | None, number: dtype | None) -> dtype:
    """Apply PyTorch's rule of three stages: tensors with dimensions, then 0-d tensors, then Python numbers.

    Each argument is the promoted type of the operands of one stage, None if there are none.  TypeError if
    all three are None.

    >>> combine(int32, float64, None), combine(float32, float64, None)
    (accelgrad.float64, accelgrad.float32)
    """
    result = _stage(_stage(number, zero_dim), with_dims)
    if result is None:
        raise TypeError("result_type needs at least one operand")
    return result


def _stage(lower: dtype | None, higher: dtype | None) -> dtype | None:
    """Return the type of the stage that counts more, unless the other one's category is higher."""
    if higher is None:
        return lower
    if lower is None or lower.category <= higher.category:
        return higher
    return lower


# --- limits


class finfo:
    """The limits of a floating point type; of the default one if none is given.

    ``bits`` is its size, ``eps`` the step from 1 to the next number, ``min`` and ``max`` the ends of its
    range, ``tiny`` (or ``smallest_normal``) the smallest positive number of full precision, ``resolution``
    the decimal digits it keeps, as a number such as 1e-06.  TypeError for a type that is not floating point.

    >>> finfo(float32).eps
    1.1920928955078125e-07
    """

    def __init__(self, type: dtype | None = None) -> None:
        chosen = as_dtype(type) if type is not None else _default
        if not chosen.is_floating_point:
            raise TypeError(
                f"finfo() requires a floating point dtype, got {chosen!r}; use iinfo for integers"
            )
        info = _Bfloat16Limits if chosen is bfloat16 else np.finfo(chosen.numpy)
        self.bits, self.dtype = info.bits, chosen.name
        self.eps, self.max, self.min = (
            _builtin_float(info.eps),
            _builtin_float(info.max),
            _builtin_float(info.min),
        )
        self.tiny = self.smallest_normal = _builtin_float(info.tiny)
        self.resolution = _builtin_float(info.resolution)

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g},"
            f" smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class _Bfloat16Limits:
    """The limits of bfloat16, which ``np.finfo`` does not know: float32's exponents, 8 of its 24 bits."""

    bits, eps, tiny, resolution = 16, 2.0**-7, 2.0**-126, 0.01
    max = (2.0 - eps) * 2.0**127
    min = -max


class iinfo:
    """The limits of an integer type: its size ``bits``, its smallest value ``min``, its largest ``max``.

    TypeError for a type that is not an integer type.

    >>> iinfo(uint8).max
    255
    """

    def __init__(self, type: dtype) -> None:
        chosen = as_dtype(type)
        if chosen.category != 1:
            raise TypeError(
                f"iinfo() requires an integer dtype, got {chosen!r}; use finfo for floating point"
            )
        info = np.iinfo(chosen.numpy)
        self.bits, self.min, self.max, self.dtype = (
            info.bits,
            _builtin_int(info.min),
            _builtin_int(info.max),
            chosen.name,
        )

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
