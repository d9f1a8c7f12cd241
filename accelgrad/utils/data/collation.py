"""From a list of samples to one batch: stacking, and errors that name the sample that does not fit."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.utils.data.allocation import empty_batch
from accelgrad.utils.data.info import position
from accelgrad.utils.data.interop import Tensor, common_dtype, is_numeric, tensor_of, wrap

__all__ = [
    "collate",
    "default_collate",
    "default_collate_fn_map",
    "default_convert",
]


CollateFunction = Callable[..., Any]
PLAIN_ROWS = frozenset([tuple, list])
PLAIN_NUMBERS = {int: np.int64, float: np.float64, bool: np.bool_}


def sample_name(entry: int) -> str:
    """Return ``dataset[17]`` where the loader knows the entry's index, else ``sample 3 of the batch``."""
    indices = position.indices
    if indices is not None and entry < len(indices):
        return f"dataset[{indices[entry]!r}]"
    return f"sample {entry} of the batch"


# --- default_collate


def default_collate(batch: Sequence[Any]) -> Any:
    """Stack the samples of a batch, field by field.

    With n samples in the batch:

    - tensors and arrays of one shape become a Tensor of shape (n, ...) and of their common dtype;
    - Python numbers become a Tensor of shape (n,): float64, int64 or bool, by the type of the first;
    - str and bytes become a list of n;
    - dicts, named tuples and dataclasses become one of their type, with collated fields;
    - tuples and lists become a list of collated fields.

    Errors: RuntimeError where the samples' sizes differ; TypeError for what cannot be stacked (None, arrays
    of strings, sets ...); KeyError where a dict lacks a key; IndexError for an empty batch.  The message
    names the sample and the field.

    >>> batch = default_collate([{"x": np.zeros(2), "name": "a"}, {"x": np.ones(2), "name": "b"}])
    >>> batch["x"].array.tolist(), batch["name"]
    ([[0.0, 0.0], [1.0, 1.0]], ['a', 'b'])
    """
    return collate_field(batch, default_collate_fn_map, "")


def collate(batch: Sequence[Any], *, collate_fn_map: dict[Any, CollateFunction] | None = None) -> Any:
    """Stack the samples of a batch as :func:`default_collate` does, with functions for more types.

    ``collate_fn_map`` maps a type, or a tuple of types, to a function that is called as ``fn(samples,
    collate_fn_map=collate_fn_map)`` for samples of that type.  A type's own entry comes before those of its
    base classes.  Entries put into :data:`default_collate_fn_map` hold for every loader.  Errors are those
    of :func:`default_collate`.

    >>> collate([1 + 2j, 3j], collate_fn_map={complex: lambda samples, *, collate_fn_map: sum(samples)})
    (1+5j)
    """
    return collate_field(batch, {**default_collate_fn_map, **(collate_fn_map or {})}, "")


def collate_field(batch: Sequence[Any], functions: dict[Any, CollateFunction], path: str) -> Any:
    """Collate the samples' values of one field; ``path`` leads to it, e.g. ``['x'][0]``, for messages."""
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
    return collate_structure(batch, path, lambda part, where: collate_field(part, functions, where))


def collate_structure(batch: Sequence[Any], path: str, inner: Callable[[list[Any], str], Any]) -> Any:
    """Collate samples that are containers: ``inner(values, path)`` is applied to the values of each field."""
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
    """Return a copy of a dataclass with other values, without running its ``__post_init__`` on a batch."""
    result = copy.copy(record)
    for name, value in values.items():
        object.__setattr__(result, name, value)  # a frozen one is new, too
    return result


def _refusal(batch: Sequence[Any], path: str) -> str:
    """Return the text of the error for a field whose type cannot be batched."""
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
    """Return the values of ``key``, one for each sample; KeyError, naming the sample, where one has none."""
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
    """Return the attribute of one sample; TypeError where that sample is of another type than the first."""
    if type(batch[entry]) is not type(batch[0]):
        raise TypeError(_unlike(batch, entry, path))
    return getattr(batch[entry], name)


def _columns(batch: Sequence[Any], path: str) -> list[list[Any]]:
    """Transpose the batch: one list of values for each position of the samples."""
    size = len(batch[0])
    # Usually all samples fit; these calls find it out in C, without a step in Python for each sample.
    fit = PLAIN_ROWS.issuperset(map(type, batch)) and set(map(len, batch)) == {size}
    for entry, sample in () if fit else enumerate(batch):
        if not isinstance(sample, tuple | list):
            raise TypeError(_unlike(batch, entry, path))
        if len(sample) != size:
            raise RuntimeError(
                "each element in list of batch should be of equal size:"
                f" {sample_name(0)}{path} has {size} elements"
                f" and {sample_name(entry)}{path} has {len(sample)};"
                " lists of tokens of different lengths can be padded with collate_fn=pad_collate"
            )
    return list(map(list, zip(*batch, strict=True)))


def _unlike(batch: Sequence[Any], entry: int, path: str) -> str:
    """Return the text of the error for a sample that has another structure than the first."""
    if batch[entry] is None:
        return _refusal(batch, path)
    return (
        f"default_collate: {sample_name(entry)}{path} is a {type(batch[entry]).__name__}"
        f" but {sample_name(0)}{path} is a {type(batch[0]).__name__}:"
        " the samples of a batch need the same structure"
    )


def _same_kind(batch: Sequence[Any], kind: type, path: str) -> list[Any]:
    """Return the batch as a list; TypeError where a value is not of type ``kind``."""
    values = list(batch)
    for entry, value in enumerate(values):
        if not isinstance(value, kind):
            raise TypeError(_unlike(batch, entry, path))
    return values


def _numbers(batch: Sequence[Any], path: str) -> np.ndarray:
    """Return an array of Python numbers: float64, int64 or bool by the first one's type, as in PyTorch."""
    first = batch[0]
    # The common case: all numbers are of one plain type.
    dtype = PLAIN_NUMBERS.get(type(first))
    if dtype is not None and set(map(type, batch)) == {type(first)}:
        out = empty_batch((len(batch),), dtype)
        try:
            out[:] = batch
        except OverflowError:
            pass
        else:
            return out
    # Mixed types, or integers that do not fit into int64.
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
                f"Overflow when unpacking long: {sample_name(0)}{path}"
                " and its neighbours do not fit into int64"
            )
        else:
            out = empty_batch((len(batch),), values.dtype)
    out[:] = batch
    return out


def _stack(batch: Sequence[Any], path: str) -> Tensor:
    """Return one Tensor of arrays or Tensors of one shape, written straight into the batch's memory."""
    # Tensors: those on a card are stacked there, the others are handled as arrays below.
    if isinstance(batch[0], Tensor):
        for entry, value in enumerate(batch):
            if not isinstance(value, Tensor):
                raise TypeError(_unlike(batch, entry, path))
        if any(value.is_cuda for value in batch):
            xp = one_device(batch, path)
            arrays = [value.array for value in batch]
            if any(array.shape != arrays[0].shape for array in arrays):
                raise RuntimeError(_ragged(arrays, path))
            with xp.scope():
                return wrap(xp.stack(arrays), xp)  # (n, *shape)
        batch = [value.array for value in batch]
    # Whether shapes and dtypes agree: count() compares in C, and usually finds the same object.
    try:
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
    dtypes.of(dtype)  # a TypeError for a dtype that no tensor has
    # The copy: concatenate() writes all samples in one call, as the parts of one long array.
    out = empty_batch((len(batch), *first.shape), dtype)  # (n, *shape)
    if first.ndim:
        target = out.reshape(len(batch) * first.shape[0], *first.shape[1:])  # (n shape[0], *shape[1:])
        np.concatenate(batch, out=target, casting="unsafe")
    else:
        out[:] = batch
    return tensor_of(out)


def one_device(batch: Sequence[Tensor], path: str) -> Any:
    """Return the array module of all tensors of a field; RuntimeError where they lie on several devices."""
    first = batch[0]
    for entry, value in enumerate(batch):
        if value.xp is not first.xp:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices,"
                f" {first.device} and {value.device}!"
                f" {sample_name(0)}{path} is on {first.device}"
                f" and {sample_name(entry)}{path} on {value.device}:"
                " return all samples on the CPU, and move the batch"
                f" with .to('{first.device if first.is_cuda else value.device}')"
            )
    return first.xp


def _ragged(batch: Sequence[np.ndarray], path: str) -> str:
    """Return the text of the error for arrays of different shapes."""
    entry = next(i for i, array in enumerate(batch) if array.shape != batch[0].shape)
    return (
        f"stack expects each tensor to be equal size, but got {list(batch[0].shape)} at entry 0"
        f" and {list(batch[entry].shape)} at entry {entry}:"
        f" {sample_name(0)}{path} has shape {batch[0].shape}"
        f" and {sample_name(entry)}{path} has shape {batch[entry].shape};"
        " to pad them, give the loader collate_fn=pad_collate (from accelgrad.utils.data)"
    )


default_collate_fn_map: dict[Any, CollateFunction] = {}
"""Functions for more types, which hold for every loader; see :func:`collate`."""


# --- default_convert


def default_convert(data: Any) -> Any:
    """Return a sample with its NumPy arrays and NumPy numbers as Tensors, and everything else as it is.

    Containers (dicts, lists, tuples, dataclasses) keep their type; the Tensors share the arrays' memory and
    have their shape and dtype.  Arrays of text, objects or complex numbers stay arrays.  TypeError for a
    dtype that no tensor has.  A DataLoader applies it where ``batch_size`` is None.

    >>> default_convert((np.zeros(2), "name", 3))
    (tensor([0., 0.], dtype=accelgrad.float64), 'name', 3)
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
