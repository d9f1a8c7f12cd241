"""From a list of samples to one batch: stacking, padding, and errors that name what does not fit."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.utils.data.allocation import empty_batch
from accelgrad.utils.data.info import position
from accelgrad.utils.data.interop import CPU, Tensor, common_dtype, is_numeric, tensor_of, wrap

__all__ = [
    "Padded",
    "PadCollate",
    "collate",
    "default_collate",
    "default_collate_fn_map",
    "default_convert",
    "pad_collate",
]


CollateFunction = Callable[..., Any]
PLAIN_ROWS = frozenset([tuple, list])
ROW_OF_ONE_CALL = 1 << 16  # bytes; of longer rows it does not matter that each takes a step in Python
PLAIN_NUMBERS = {int: np.int64, float: np.float64, bool: np.bool_}


def sample_name(entry: int) -> str:
    """``dataset[17]`` where the loader knows the entry's index, else ``sample 3 of the batch``."""
    indices = position.indices
    if indices is not None and entry < len(indices):
        return f"dataset[{indices[entry]!r}]"
    return f"sample {entry} of the batch"


# --- default_collate


def default_collate(batch: Sequence[Any]) -> Any:
    """Stack the samples of a batch, field by field, as PyTorch's function of that name does.

    Tensors, arrays and numbers become one Tensor with a new first dimension (Python floats float64, integers
    int64); str and bytes stay lists; dicts, named tuples and dataclasses keep their type; tuples and lists
    become lists of collated fields.

    Raises RuntimeError where the samples' sizes differ, TypeError for what cannot be batched (None, strings
    in arrays, sets ...); the message names the sample and the field.

    >>> batch = default_collate([{"x": np.zeros(2), "name": "a"}, {"x": np.ones(2), "name": "b"}])
    >>> batch["x"].array.tolist(), batch["name"]
    ([[0.0, 0.0], [1.0, 1.0]], ['a', 'b'])
    """
    return _collate(batch, default_collate_fn_map, "")


def collate(batch: Sequence[Any], *, collate_fn_map: dict[Any, CollateFunction] | None = None) -> Any:
    """:func:`default_collate` with functions for more types.

    ``collate_fn_map[Type]`` (or of a tuple of types) is called as ``fn(samples,
    collate_fn_map=collate_fn_map)`` for samples of that type; a type's own entry comes before those of its
    base classes.  Entries put into :data:`default_collate_fn_map` hold for every loader.

    >>> collate([1 + 2j, 3j], collate_fn_map={complex: lambda samples, *, collate_fn_map: sum(samples)})
    (1+5j)
    """
    return _collate(batch, {**default_collate_fn_map, **(collate_fn_map or {})}, "")


def _collate(batch: Sequence[Any], functions: dict[Any, CollateFunction], path: str) -> Any:
    if not len(batch):
        raise IndexError(f"default_collate: the batch{path and ' at ' + path} has no samples")
    first = batch[0]
    kind = type(first)
    if kind is np.ndarray or kind is Tensor:
        return _stack(batch, path)
    if kind in functions:
        return functions[kind](batch, collate_fn_map=functions)
    for types, function in functions.items():
        if isinstance(first, types):
            return function(batch, collate_fn_map=functions)
    if isinstance(first, np.ndarray | Tensor | np.generic):
        return _stack(batch, path)
    if isinstance(first, int | float):
        return tensor_of(_numbers(batch, path))
    if isinstance(first, str | bytes):
        return _same_kind(batch, str if isinstance(first, str) else bytes, path)
    return _structure(batch, path, lambda part, where: _collate(part, functions, where))


def _structure(batch: Sequence[Any], path: str, inner: Callable[[list[Any], str], Any]) -> Any:
    """Samples that are containers: ``inner`` is applied to each field's values."""
    first = batch[0]
    if isinstance(first, Mapping):
        fields = {key: inner(_column(batch, key, path), f"{path}[{key!r}]") for key in first}
        if type(first) is dict:
            return fields
        try:
            return type(first)(fields)  # type: ignore[call-arg]
        except TypeError:  # a mapping that is not made from a mapping, e.g. a defaultdict
            return fields
    if dataclasses.is_dataclass(first):
        names = [field.name for field in dataclasses.fields(first)]
        values = {
            name: inner(
                [_attribute(batch, entry, name, path) for entry in range(len(batch))], f"{path}.{name}"
            )
            for name in names
        }
        return with_fields(first, values)
    if isinstance(first, tuple | list):
        columns = _columns(batch, path)
        if isinstance(first, tuple) and hasattr(first, "_fields"):
            named = zip(columns, first._fields, strict=True)
            return type(first)(*(inner(column, f"{path}.{name}") for column, name in named))
        collated = [inner(column, f"{path}[{which}]") for which, column in enumerate(columns)]
        if type(first) in (tuple, list):
            return collated
        try:
            return type(first)(collated)
        except TypeError:
            return collated
    raise TypeError(_refusal(batch, path))


def with_fields(record: Any, values: dict[str, Any]) -> Any:
    """A copy of a dataclass with other values; __post_init__, made for one sample, is not run on a batch."""
    result = copy.copy(record)
    for name, value in values.items():
        object.__setattr__(result, name, value)  # a frozen one is new, too
    return result


def _refusal(batch: Sequence[Any], path: str) -> str:
    """Why a field of this type cannot be batched."""
    entry = next((i for i, value in enumerate(batch) if value is None), 0)
    found = batch[entry]
    if found is None:
        what = f"{sample_name(entry)}{path} is None" if path else f"{sample_name(entry)} returned None"
        advice = (
            "; does __getitem__ end without a return?" if not path else "; give every sample a value there"
        )
    else:
        what, advice = f"{sample_name(entry)}{path} is a {type(found).__name__}", ""
        if hasattr(found, "convert") and hasattr(found, "getpixel"):
            advice = "; turn images into tensors first, e.g. with transforms.ToTensor()"
        else:
            advice = "; convert it in __getitem__, or give the loader a collate_fn"
    return (
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists;"
        f" found {type(found)}: {what}{advice}"
    )


def _column(batch: Sequence[Any], key: Any, path: str) -> list[Any]:
    """The values of ``key``, one for each sample."""
    try:
        return [sample[key] for sample in batch]
    except (KeyError, TypeError):
        for entry, sample in enumerate(batch):
            if not isinstance(sample, Mapping):
                raise TypeError(_unlike(batch, entry, path)) from None
            if key not in sample:
                raise KeyError(
                    f"{sample_name(entry)}{path} has no key {key!r}, which {sample_name(0)}{path} has:"
                    " every sample of a batch needs the same keys"
                ) from None
        raise


def _attribute(batch: Sequence[Any], entry: int, name: str, path: str) -> Any:
    if type(batch[entry]) is not type(batch[0]):
        raise TypeError(_unlike(batch, entry, path))
    return getattr(batch[entry], name)


def _columns(batch: Sequence[Any], path: str) -> list[list[Any]]:
    """The transposed batch: one list of values for each position of the samples."""
    size = len(batch[0])
    # Mostly they fit, which this finds out without a step in Python for each sample.
    fit = PLAIN_ROWS.issuperset(map(type, batch)) and set(map(len, batch)) == {size}
    for entry, sample in () if fit else enumerate(batch):
        if not isinstance(sample, tuple | list):
            raise TypeError(_unlike(batch, entry, path))
        if len(sample) != size:
            raise RuntimeError(
                f"each element in list of batch should be of equal size: {sample_name(0)}{path} has {size}"
                f" elements and {sample_name(entry)}{path} has {len(sample)}; lists of tokens of different"
                " lengths can be padded with collate_fn=pad_collate"
            )
    return list(map(list, zip(*batch, strict=True)))


def _unlike(batch: Sequence[Any], entry: int, path: str) -> str:
    if batch[entry] is None:
        return _refusal(batch, path)
    return (
        f"default_collate: {sample_name(entry)}{path} is a {type(batch[entry]).__name__} but"
        f" {sample_name(0)}{path} is a {type(batch[0]).__name__}: the samples of a batch need the same"
        " structure"
    )


def _same_kind(batch: Sequence[Any], kind: type, path: str) -> list[Any]:
    values = list(batch)
    for entry, value in enumerate(values):
        if not isinstance(value, kind):
            raise TypeError(_unlike(batch, entry, path))
    return values


def _numbers(batch: Sequence[Any], path: str) -> np.ndarray:
    """Python numbers as an array: float64 or int64 or bool by the first sample's type, as PyTorch decides."""
    first = batch[0]
    dtype = PLAIN_NUMBERS.get(type(first))
    if dtype is not None and set(map(type, batch)) == {type(first)}:
        out = empty_batch((len(batch),), dtype)
        try:
            out[:] = batch
        except OverflowError:
            pass
        else:
            return out
    for entry, value in enumerate(batch):
        if type(value) is not type(first) and not isinstance(value, int | float | np.generic):
            raise TypeError(_unlike(batch, entry, path))
    if isinstance(first, float):
        out = empty_batch((len(batch),), np.float64)
    else:
        try:
            values = np.array(batch)
        except OverflowError:
            values = np.array(batch, dtype=object)
        if values.dtype.kind == "f":  # integers first, a float later: PyTorch infers the default dtype
            out = empty_batch((len(batch),), dtypes.get_default_dtype().numpy)
        elif values.dtype.kind in "Ou":
            raise RuntimeError(
                f"Overflow when unpacking long: {sample_name(0)}{path} and its neighbours do not fit into"
                " int64"
            )
        else:
            out = empty_batch((len(batch),), values.dtype)
    out[:] = batch
    return out


def _stack(batch: Sequence[Any], path: str) -> Tensor:
    """One Tensor from arrays or Tensors of one shape, written straight into the batch's memory."""
    if isinstance(batch[0], Tensor):
        for entry, value in enumerate(batch):
            if not isinstance(value, Tensor):
                raise TypeError(_unlike(batch, entry, path))
        if any(value.is_cuda for value in batch):
            xp = _one_device(batch, path)
            arrays = [value.array for value in batch]
            if any(array.shape != arrays[0].shape for array in arrays):
                raise RuntimeError(_ragged(arrays, path))
            with xp.scope():
                return wrap(xp.stack(arrays), xp)
        batch = [value.array for value in batch]
    try:
        # count() compares in C, and mostly finds the same object
        shapes, types = [array.shape for array in batch], [array.dtype for array in batch]
        one_shape = shapes.count(shapes[0]) == len(batch)
        one_dtype = types.count(types[0]) == len(batch)
    except AttributeError:
        entry = next(i for i, value in enumerate(batch) if not isinstance(value, np.ndarray | np.generic))
        raise TypeError(_unlike(batch, entry, path)) from None
    first = batch[0]
    if not one_shape:
        raise RuntimeError(_ragged(batch, path))
    dtype = first.dtype if one_dtype else common_dtype(batch)
    if not dtype.isnative:
        dtype = dtype.newbyteorder("=")
    if not is_numeric(dtype):
        raise TypeError(
            "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists;"
            f" found an array of dtype {dtype}: {sample_name(0)}{path}; encode it as numbers first"
        )
    dtypes.of(dtype)
    out = empty_batch((len(batch), *first.shape), dtype)
    if first.ndim:
        target = out.reshape(len(batch) * first.shape[0], *first.shape[1:])
        np.concatenate(batch, out=target, casting="unsafe")
    else:
        out[:] = batch
    return tensor_of(out)


def _one_device(batch: Sequence[Tensor], path: str) -> Any:
    """The array module of all tensors of a field; RuntimeError where they lie on several devices."""
    first = batch[0]
    for entry, value in enumerate(batch):
        if value.xp is not first.xp:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices,"
                f" {first.device} and {value.device}! {sample_name(0)}{path} is on {first.device} and"
                f" {sample_name(entry)}{path} on {value.device}: return all samples on the CPU, and move the"
                f" batch with .to('{first.device if first.is_cuda else value.device}')"
            )
    return first.xp


def _ragged(batch: Sequence[np.ndarray], path: str) -> str:
    entry = next(i for i, array in enumerate(batch) if array.shape != batch[0].shape)
    return (
        f"stack expects each tensor to be equal size, but got {list(batch[0].shape)} at entry 0 and"
        f" {list(batch[entry].shape)} at entry {entry}: {sample_name(0)}{path} has shape {batch[0].shape} and"
        f" {sample_name(entry)}{path} has shape {batch[entry].shape}; to pad them, give the loader"
        " collate_fn=pad_collate (from accelgrad.utils.data)"
    )


default_collate_fn_map: dict[Any, CollateFunction] = {}
"""Functions for further types, see :func:`collate`."""


# --- default_convert


def default_convert(data: Any) -> Any:
    """The arrays within one sample as Tensors; everything else as it is.  Used where ``batch_size`` is None.

    >>> default_convert((np.zeros(2), "name", 3))[1:]
    ('name', 3)
    """
    if isinstance(data, Tensor):
        return data
    if isinstance(data, np.ndarray | np.generic):
        if data.dtype.kind == "c" or not is_numeric(data.dtype):
            return data
        return tensor_of(np.asarray(data))
    if isinstance(data, Mapping):
        converted = {key: default_convert(value) for key, value in data.items()}
        try:
            return type(data)(converted)  # type: ignore[call-arg]
        except TypeError:
            return converted
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(value) for value in data))
    if isinstance(data, list | tuple):
        return type(data)([default_convert(value) for value in data])
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        values = {
            field.name: default_convert(getattr(data, field.name)) for field in dataclasses.fields(data)
        }
        return with_fields(data, values)
    return data


# --- pad_collate


class Padded(NamedTuple):
    """A padded field of a batch, and the true lengths of its sequences (int64)."""

    values: Any
    lengths: Any


class PadCollate:
    """A ``collate_fn`` that pads sequences of different lengths; see :data:`pad_collate`, its ready-made
    instance."""

    def __init__(
        self,
        padding_value: Any = 0,
        batch_first: bool = True,
        dims: Any = 0,
        lengths: bool = True,
    ) -> None:
        self.padding_value = padding_value
        self.batch_first = batch_first
        self.dims = dims
        self.lengths = lengths
        for where in self._all_dims():
            if isinstance(where, bool) or not isinstance(where, int) or where < 0:
                raise ValueError(
                    f"pad_collate: dims are dimensions of a sample, counted from 0, got {dims!r}; write"
                    " dims=0, dims=(0, 1), or a dict from field to such"
                )
        if not batch_first and any(where != 0 for where in self._all_dims()):
            raise ValueError(
                "pad_collate: batch_first=False puts the sequence first, so only dims=0 can be padded"
            )

    def _all_dims(self) -> list[Any]:
        many = list(self.dims.values()) if isinstance(self.dims, Mapping) else [self.dims]
        return [where for dims in many for where in (dims if isinstance(dims, tuple | list) else (dims,))]

    def __call__(self, batch: Sequence[Any] | None = None, **options: Any) -> Any:
        if batch is None:
            known = {"padding_value", "batch_first", "dims", "lengths"}
            if unknown := set(options) - known:
                raise TypeError(
                    f"pad_collate got unknown options {sorted(unknown)}; it knows {sorted(known)}"
                )
            return PadCollate(**{**{name: getattr(self, name) for name in known}, **options})
        if options:
            raise TypeError(
                "pad_collate: configure it first, pad_collate(padding_value=...), then call it with a batch"
            )
        return self._collate(batch, "", None)

    def __repr__(self) -> str:
        return (
            f"pad_collate(padding_value={self.padding_value!r}, batch_first={self.batch_first},"
            f" dims={self.dims!r}, lengths={self.lengths})"
        )

    def _collate(self, batch: Sequence[Any], path: str, field: Any) -> Any:
        if not len(batch):
            raise IndexError("pad_collate: the batch has no samples")
        dims = self._dims_of(field)
        if dims is not None:
            arrays = _sequences(batch)
            if arrays is not None and (arrays[0].ndim > 0 or any(array.ndim for array in arrays)):
                tensors = isinstance(batch[0], Tensor) and any(value.is_cuda for value in batch)
                return self._pad(arrays, dims, path, field, _one_device(batch, path) if tensors else CPU)
        first = batch[0]
        structured = isinstance(first, Mapping | tuple | list) or dataclasses.is_dataclass(first)
        if structured and not _sequence_of_numbers(first) and type(first) not in default_collate_fn_map:
            keys = iter(_field_keys(first))
            return _structure(batch, path, lambda part, where: self._collate(part, where, next(keys)))
        return _collate(batch, default_collate_fn_map, path)

    def _dims_of(self, field: Any) -> tuple[int, ...] | None:
        dims = self.dims
        if isinstance(dims, Mapping):
            if field not in dims:
                return None
            dims = dims[field]
        return tuple(dims) if isinstance(dims, tuple | list) else (dims,)

    def _pad(self, arrays: list[np.ndarray], dims: tuple[int, ...], path: str, field: Any, xp: Any) -> Any:
        first = arrays[0]
        if [array.ndim for array in arrays].count(first.ndim) < len(arrays) or max(dims) >= first.ndim:
            entry = next((i for i, array in enumerate(arrays) if array.ndim != first.ndim), 0)
            raise RuntimeError(
                f"pad_collate: {sample_name(0)}{path} has {first.ndim} dimensions and"
                f" {sample_name(entry)}{path} has {arrays[entry].ndim}; padding dims {dims} needs at least"
                f" {max(dims) + 1}, the same in every sample"
            )
        shapes = itertools.chain.from_iterable([array.shape for array in arrays])
        extents = np.fromiter(shapes, np.int64, len(arrays) * first.ndim).reshape(len(arrays), first.ndim)
        for axis in range(first.ndim):
            if axis not in dims and (extents[:, axis] != extents[0, axis]).any():
                entry = int(np.flatnonzero(extents[:, axis] != extents[0, axis])[0])
                raise RuntimeError(
                    f"pad_collate pads dimension {dims} only, but {sample_name(0)}{path} has shape"
                    f" {first.shape} and {sample_name(entry)}{path} has shape {arrays[entry].shape}; name"
                    f" every dimension that may differ: pad_collate(dims={tuple(sorted({*dims, axis}))})"
                )
        value = self.padding_value
        if isinstance(value, Mapping):
            value = value.get(field, 0)
        same = [array.dtype for array in arrays].count(first.dtype) == len(arrays)
        dtype = first.dtype if same else common_dtype(arrays)
        dtype = dtype.newbyteorder("=") if not dtype.isnative else dtype
        dtypes.of(dtype)
        n, (longest, *rest) = len(arrays), extents.max(axis=0).tolist()
        shape = (n, longest, *rest) if self.batch_first else (longest, n, *rest)
        with xp.scope():
            out = empty_batch(shape, dtype) if xp is CPU else xp.empty(shape, dtype)
            if xp is CPU and self.batch_first and dims == (0,) and out.nbytes // n <= ROW_OF_ONE_CALL:
                _fill_in_one_call(out, arrays, value)
            else:
                rows = out if self.batch_first else xp.moveaxis(out, 1, 0)
                for row, array in zip(rows, arrays, strict=True):
                    if array.shape == row.shape:
                        row[...] = array
                    elif dims == (0,):  # write the sequence and its padding, each byte once
                        row[: len(array)] = array
                        row[len(array) :] = value
                    else:
                        row[...] = value
                        row[tuple(map(slice, array.shape))] = array
        values = tensor_of(out) if xp is CPU else wrap(out, xp)
        if not self.lengths:
            return values
        true = extents[:, dims[0]] if len(dims) == 1 else extents[:, list(dims)]
        lengths = empty_batch(true.shape, np.int64)
        lengths[...] = true
        return Padded(values, tensor_of(lengths))


def _fill_in_one_call(out: np.ndarray, arrays: list[np.ndarray], value: Any) -> None:
    """Each array and its padding, one after the other: the rows of ``out``, (n, longest, ...)."""
    n, longest, *rest = out.shape
    padding = np.full((longest, *rest), value, out.dtype)
    pieces = []
    for array in arrays:
        pieces.append(array)
        if len(array) < longest:
            pieces.append(padding[len(array) :])
    np.concatenate(pieces, out=out.reshape(n * longest, *rest), casting="unsafe")


def _field_keys(sample: Any) -> list[Any]:
    if isinstance(sample, Mapping):
        return list(sample)
    if dataclasses.is_dataclass(sample):
        return [field.name for field in dataclasses.fields(sample)]
    return list(getattr(sample, "_fields", range(len(sample))))


def _sequence_of_numbers(value: Any) -> bool:
    return type(value) is list and all(isinstance(item, int | float | np.generic) for item in value)


def _sequences(batch: Sequence[Any]) -> list[np.ndarray] | None:
    """The samples as arrays, or None where they are not sequences (arrays, Tensors, lists of numbers)."""
    if set(map(type, batch)) == {np.ndarray}:
        return list(batch)
    if all(isinstance(value, np.ndarray | Tensor) for value in batch):
        return [value.array if isinstance(value, Tensor) else value for value in batch]
    if all(_sequence_of_numbers(value) for value in batch):
        return _unify([np.asarray(value) if value else np.empty(0, np.int64) for value in batch])
    return None


def _unify(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Lists of numbers: integers stay int64, a float anywhere makes all of them the default dtype."""
    if any(array.dtype.kind == "f" for array in arrays):
        return [array.astype(dtypes.get_default_dtype().numpy) for array in arrays]
    return arrays


pad_collate = PadCollate()
"""Collate sequences of different lengths: ``DataLoader(..., collate_fn=pad_collate)``, or configured,
``collate_fn=pad_collate(padding_value=-1, batch_first=False, lengths=False)``.

Every array, Tensor or list of numbers with a dimension is padded at its end, along dimension 0 of the
sample, to the longest of the batch, shape ``(n, longest, ...)`` or with ``batch_first=False`` ``(longest, n,
...)``, and becomes the pair ``Padded(values, lengths)``; with ``lengths=False`` only the values.  Other
fields are collated as usual.

``dims``: the dimension or dimensions of a sample that may differ (several give lengths of shape ``(n,
len(dims))``); a dict from field (key, position or attribute) to dimensions restricts padding to the fields
named. ``padding_value``: a number, or a dict from field to number.
"""
