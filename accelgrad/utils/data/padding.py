"""Batches of sequences of different lengths: ``pad_collate`` pads each field to the longest of the batch."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.utils.data.allocation import empty_batch
from accelgrad.utils.data.collation import (
    collate_field,
    collate_structure,
    default_collate_fn_map,
    one_device,
    sample_name,
)
from accelgrad.utils.data.interop import CPU, Tensor, common_dtype, tensor_of, wrap

__all__ = ["PadCollate", "Padded", "pad_collate"]

ROW_OF_ONE_CALL = 1 << 16  # bytes; of longer rows it does not matter that each takes a step in Python


class Padded(NamedTuple):
    """A padded field of a batch: ``values``, and the true ``lengths`` of its sequences, both Tensors.

    >>> Padded(values=[[1, 2], [3, 0]], lengths=[2, 1]).lengths
    [2, 1]
    """

    values: Any
    lengths: Any


class PadCollate:
    """A ``collate_fn`` that pads sequences of different lengths to the longest of the batch.

    ``pad_collate`` is one with the default options: ``DataLoader(..., collate_fn=pad_collate)``.  Called with
    options it makes another: ``collate_fn=pad_collate(padding_value=-1, lengths=False)``.

    Every array, Tensor or list of numbers that has a dimension is padded at its end, along dimension 0 of
    the sample.  The result is the pair ``Padded(values, lengths)``: values of shape (n, longest, ...), or
    (longest, n, ...) with ``batch_first=False``, and lengths of shape (n,), int64.  With ``lengths=False``
    it is the values only.  Other fields are collated by :func:`default_collate`.

    - ``dims``: the dimension or dimensions of a sample that may differ; several give lengths of shape (n,
      len(dims)).  A dict from field (key, position or attribute) to dimensions pads only the fields it names.
    - ``padding_value``: a number, or a dict from field to number.

    Errors: ValueError for dims that cannot be padded, TypeError for an unknown option; RuntimeError where
    samples differ in a dimension that is not padded.

    >>> values, lengths = pad_collate([[1, 2, 3], [4]])
    >>> values, lengths
    (tensor([[1, 2, 3],
            [4, 0, 0]]), tensor([3, 1]))
    """

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
                    f"pad_collate: dims are dimensions of a sample, counted from 0, got {dims!r};"
                    " write dims=0, dims=(0, 1), or a dict from field to such"
                )
        if not batch_first and any(where != 0 for where in self._all_dims()):
            raise ValueError(
                "pad_collate: batch_first=False puts the sequence first, so only dims=0 can be padded"
            )

    def _all_dims(self) -> list[Any]:
        """List every dimension that ``dims`` names, for any field."""
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
        """Collate the values of one field, padded if they are sequences; messages name it by ``path``."""
        if not len(batch):
            raise IndexError("pad_collate: the batch has no samples")
        # Sequences are padded.
        dims = self._dims_of(field)
        if dims is not None:
            arrays = _sequences(batch)
            if arrays is not None and (arrays[0].ndim > 0 or any(array.ndim for array in arrays)):
                tensors = isinstance(batch[0], Tensor) and any(value.is_cuda for value in batch)
                return self._pad(arrays, dims, path, field, one_device(batch, path) if tensors else CPU)
        # Containers are taken apart, field by field.
        first = batch[0]
        structured = isinstance(first, Mapping | tuple | list) or dataclasses.is_dataclass(first)
        if structured and not _sequence_of_numbers(first) and type(first) not in default_collate_fn_map:
            keys = iter(_field_keys(first))
            return collate_structure(batch, path, lambda part, where: self._collate(part, where, next(keys)))
        # Everything else is collated without padding.
        return collate_field(batch, default_collate_fn_map, path)

    def _dims_of(self, field: Any) -> tuple[int, ...] | None:
        """Return the dimensions of a field that are padded; None where the field is left alone."""
        dims = self.dims
        if isinstance(dims, Mapping):
            if field not in dims:
                return None
            dims = dims[field]
        return tuple(dims) if isinstance(dims, tuple | list) else (dims,)

    def _pad(self, arrays: list[np.ndarray], dims: tuple[int, ...], path: str, field: Any, xp: Any) -> Any:
        """Return the padded Tensor of the arrays, with their lengths if they are wanted."""
        # Check that the samples differ in the dimensions to be padded only.
        first = arrays[0]
        if [array.ndim for array in arrays].count(first.ndim) < len(arrays) or max(dims) >= first.ndim:
            entry = next((i for i, array in enumerate(arrays) if array.ndim != first.ndim), 0)
            raise RuntimeError(
                f"pad_collate: {sample_name(0)}{path} has {first.ndim} dimensions"
                f" and {sample_name(entry)}{path} has {arrays[entry].ndim};"
                f" padding dims {dims} needs at least {max(dims) + 1}, the same in every sample"
            )
        shapes = itertools.chain.from_iterable([array.shape for array in arrays])
        extents = np.fromiter(shapes, np.int64, len(arrays) * first.ndim)
        extents = extents.reshape(len(arrays), first.ndim)  # (n, ndim)
        for axis in range(first.ndim):
            if axis not in dims and (extents[:, axis] != extents[0, axis]).any():
                entry = int(np.flatnonzero(extents[:, axis] != extents[0, axis])[0])
                raise RuntimeError(
                    f"pad_collate pads dimension {dims} only,"
                    f" but {sample_name(0)}{path} has shape {first.shape}"
                    f" and {sample_name(entry)}{path} has shape {arrays[entry].shape};"
                    " name every dimension that may differ:"
                    f" pad_collate(dims={tuple(sorted({*dims, axis}))})"
                )
        # The padding's value and the batch's dtype and shape.
        value = self.padding_value
        if isinstance(value, Mapping):
            value = value.get(field, 0)
        same = [array.dtype for array in arrays].count(first.dtype) == len(arrays)
        dtype = first.dtype if same else common_dtype(arrays)
        dtype = dtype.newbyteorder("=") if not dtype.isnative else dtype
        dtypes.of(dtype)  # a TypeError for a dtype that no tensor has
        n, (longest, *rest) = len(arrays), extents.max(axis=0).tolist()
        shape = (n, longest, *rest) if self.batch_first else (longest, n, *rest)
        # Fill it.
        with xp.scope():
            out = empty_batch(shape, dtype) if xp is CPU else xp.empty(shape, dtype)
            if xp is CPU and self.batch_first and dims == (0,) and out.nbytes // n <= ROW_OF_ONE_CALL:
                _fill_in_one_call(out, arrays, value)
            else:
                rows = out if self.batch_first else xp.moveaxis(out, 1, 0)  # (n, longest, ...)
                for row, array in zip(rows, arrays, strict=True):
                    if array.shape == row.shape:
                        row[...] = array
                    elif dims == (0,):  # the sequence and its padding: each byte is written once
                        row[: len(array)] = array
                        row[len(array) :] = value
                    else:
                        row[...] = value
                        row[tuple(map(slice, array.shape))] = array
        values = tensor_of(out) if xp is CPU else wrap(out, xp)
        if not self.lengths:
            return values
        true = extents[:, dims[0]] if len(dims) == 1 else extents[:, list(dims)]  # (n,) or (n, len(dims))
        lengths = empty_batch(true.shape, np.int64)
        lengths[...] = true
        return Padded(values, tensor_of(lengths))


def _fill_in_one_call(out: np.ndarray, arrays: list[np.ndarray], value: Any) -> None:
    """Write each array and its padding, one after the other, into ``out``, (n, longest, ...)."""
    n, longest, *rest = out.shape
    padding = np.full((longest, *rest), value, out.dtype)
    pieces = []
    for array in arrays:
        pieces.append(array)
        if len(array) < longest:
            pieces.append(padding[len(array) :])
    np.concatenate(pieces, out=out.reshape(n * longest, *rest), casting="unsafe")  # (n longest, ...)


def _field_keys(sample: Any) -> list[Any]:
    """Return the names of a container's fields: keys, attributes or positions."""
    if isinstance(sample, Mapping):
        return list(sample)
    if dataclasses.is_dataclass(sample):
        return [field.name for field in dataclasses.fields(sample)]
    return list(getattr(sample, "_fields", range(len(sample))))


def _sequence_of_numbers(value: Any) -> bool:
    """Return whether the value is a list of numbers, which is padded as an array would be."""
    return type(value) is list and all(isinstance(item, int | float | np.generic) for item in value)


def _sequences(batch: Sequence[Any]) -> list[np.ndarray] | None:
    """Return the samples as arrays if they are sequences (arrays, Tensors, lists of numbers), or None."""
    if set(map(type, batch)) == {np.ndarray}:
        return list(batch)
    if all(isinstance(value, np.ndarray | Tensor) for value in batch):
        return [value.array if isinstance(value, Tensor) else value for value in batch]
    if all(_sequence_of_numbers(value) for value in batch):
        return _unify([np.asarray(value) if value else np.empty(0, np.int64) for value in batch])
    return None


def _unify(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Bring lists of numbers to one dtype: int64, or the default dtype where any of them holds a float."""
    if any(array.dtype.kind == "f" for array in arrays):
        return [array.astype(dtypes.get_default_dtype().numpy) for array in arrays]
    return arrays


pad_collate = PadCollate()
"""Pads sequences to the longest of the batch, and can be configured by a call; see :class:`PadCollate`."""
