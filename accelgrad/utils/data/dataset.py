"""Datasets: the classes that a loader reads samples from, and ways to combine, cut and split them."""

from __future__ import annotations

import bisect
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from accelgrad.utils.data.allocation import batch_copy, empty_batch
from accelgrad.utils.data.interop import Tensor, numpy_generator, tensor_of, wrap

__all__ = [
    "Dataset",
    "IterableDataset",
    "TensorDataset",
    "StackDataset",
    "ConcatDataset",
    "ChainDataset",
    "Subset",
    "random_split",
]

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """A collection of samples; a subclass defines ``__getitem__(index)``, and usually ``__len__``.

    Two optional methods fetch a whole batch at once.  ``__getitems__(indices)`` returns the list of samples,
    as in PyTorch.  ``__getbatch__(indices)`` returns the batch already collated, or NotImplemented; a loader
    calls it where its ``collate_fn`` is :func:`default_collate`.  ``a + b`` is a :class:`ConcatDataset`.

    Errors: NotImplementedError where ``__getitem__`` is not defined.

    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 4
    ...     def __getitem__(self, index):
    ...         return index * index
    >>> [Squares()[i] for i in range(4)]
    [0, 1, 4, 9]
    """

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(self, index)")

    def __add__(self, other: Dataset[T_co]) -> ConcatDataset[T_co]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """A stream of samples; a subclass defines ``__iter__``.

    Every worker of a loader iterates over its own copy, so without further care each sample comes once from
    every worker: :func:`get_worker_info` tells ``__iter__`` which share is its own.  ``a + b`` is a
    :class:`ChainDataset`.

    Errors: NotImplementedError where ``__iter__`` is not defined.

    >>> class Count(IterableDataset):
    ...     def __iter__(self):
    ...         return iter(range(3))
    >>> list(Count())
    [0, 1, 2]
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__(self)")

    def __add__(self, other: Dataset[T_co]) -> Any:
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Any, ...]]):
    """Tensors (or arrays) of equal length, sample by sample: ``dataset[i] == (a[i], b[i], ...)``.

    A loader fetches a batch with one ``take`` for each tensor, or one copied slice where the indices are
    consecutive.

    Errors: ValueError without a tensor; AssertionError, as in PyTorch, where the lengths differ.

    >>> data = TensorDataset(np.arange(6.0).reshape(3, 2), np.array([0, 1, 0]))
    >>> len(data), data[1][0].shape == (2,)
    (3, True)
    """

    def __init__(self, *tensors: Any) -> None:
        if not tensors:
            raise ValueError("TensorDataset needs at least one tensor")
        lengths = [len(tensor) for tensor in tensors]
        if len(set(lengths)) > 1:
            raise AssertionError(
                f"Size mismatch between tensors: their lengths are {lengths}, and must be equal"
            )
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __getbatch__(self, indices: Sequence[int]) -> Any:
        """Return ``default_collate([self[i] for i in indices])``, made in one step for each tensor."""
        arrays = []
        for tensor in self.tensors:
            if isinstance(tensor, Tensor):
                if tensor.requires_grad:
                    return NotImplemented  # sample by sample, so that the graph is kept
                if not tensor.is_cuda:
                    tensor = tensor.array
            arrays.append(tensor)
        rows, length = _rows(indices), len(arrays[0])
        if isinstance(rows, slice) and not 0 <= rows.start <= rows.stop <= length:
            raise IndexError(
                f"TensorDataset has {length} samples; the batch asks for {rows.start} to {rows.stop - 1}"
            )
        return [_take(array, rows) for array in arrays]

    def __len__(self) -> int:
        return len(self.tensors[0])


def _rows(indices: Sequence[int]) -> slice | np.ndarray:
    """Return a slice where ``indices`` are consecutive, otherwise an index array."""
    if type(indices) is range:
        return slice(indices.start, indices.stop)
    if isinstance(indices, list) and indices and type(indices[0]) is int:
        start, stop = indices[0], indices[0] + len(indices)
        if indices[-1] == stop - 1 and indices == list(range(start, stop)):
            return slice(start, stop)
    return np.asarray(indices, dtype=np.intp)


def _take(array: Any, rows: slice | np.ndarray) -> Any:
    """Return the rows of one tensor or array as a Tensor with memory of its own; IndexError outside of it."""
    if not isinstance(rows, slice) and rows.size and not -len(array) <= rows.min() <= rows.max() < len(array):
        raise IndexError(f"index {rows.max()} is out of bounds for a TensorDataset of {len(array)} samples")
    if isinstance(array, Tensor):  # on a card: the batch is made there, of positions that were checked here
        xp = array.xp
        with xp.scope():
            part = array.array[rows if isinstance(rows, slice) else xp.from_host(rows)]
            return wrap(part.copy() if isinstance(rows, slice) else part, xp)
    if not isinstance(array, np.ndarray):
        return tensor_of(array[rows].copy() if isinstance(rows, slice) else array[rows])
    if isinstance(rows, slice):
        out = batch_copy(array[rows])
    elif array.flags.c_contiguous:
        out = empty_batch((len(rows), *array.shape[1:]), array.dtype)
        array.take(rows, axis=0, out=out, mode="wrap")  # "raise" would go through a second buffer
    else:
        out = array[rows]
    return tensor_of(out)


class StackDataset(Dataset[Any]):
    """Several datasets of equal length side by side: samples are tuples, or dicts where keywords were given.

    Errors: ValueError for no dataset, for positional and keyword datasets together, for different lengths.

    >>> StackDataset([1, 2], ["a", "b"])[1], StackDataset(x=[1, 2], y=["a", "b"])[0]
    ((2, 'b'), {'x': 1, 'y': 'a'})
    """

    datasets: tuple[Any, ...] | dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if bool(args) == bool(kwargs):
            raise ValueError(
                "StackDataset takes either positional datasets (samples are tuples) or keywords"
                " (samples are dicts), and at least one"
            )
        self.datasets = args or kwargs
        lengths = [len(dataset) for dataset in (args or kwargs.values())]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"Size mismatch between datasets: their lengths are {lengths}, and must be equal"
            )
        self._length = lengths[0]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __getitems__(self, indices: Sequence[Any]) -> list[Any]:
        """Return the samples at ``indices``; each dataset is asked once where it has ``__getitems__``."""
        if isinstance(self.datasets, dict):
            columns = [_get_many(dataset, indices) for dataset in self.datasets.values()]
            return [dict(zip(self.datasets, row, strict=True)) for row in zip(*columns, strict=True)]
        return list(zip(*(_get_many(dataset, indices) for dataset in self.datasets), strict=True))

    def __len__(self) -> int:
        return self._length


def _get_many(dataset: Any, indices: Sequence[Any]) -> list[Any]:
    """Return the samples at ``indices``, by ``__getitems__`` where the dataset has it."""
    many = getattr(dataset, "__getitems__", None)
    if not callable(many):
        return [dataset[index] for index in indices]
    items = list(many(indices))
    if len(items) != len(indices):
        raise ValueError(
            f"{type(dataset).__name__}.__getitems__ returned {len(items)} samples for {len(indices)} indices"
        )
    return items


class ConcatDataset(Dataset[T_co]):
    """Datasets one after the other, as one dataset; ``cumulative_sizes`` says where each one ends.

    Errors: ValueError for no dataset; TypeError for an :class:`IterableDataset` among them; IndexError for an
    index outside.

    >>> both = ConcatDataset([[10, 11], [12]])
    >>> len(both), both[2], both[-1], both.cumulative_sizes
    (3, 12, 12, [2, 3])
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("datasets should not be an empty iterable: ConcatDataset needs at least one")
        for dataset in self.datasets:
            if isinstance(dataset, IterableDataset):
                raise TypeError(
                    "ConcatDataset does not support IterableDataset; chain streams with ChainDataset"
                )
        self.cumulative_sizes = list(itertools.accumulate(len(dataset) for dataset in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> T_co:
        if index < 0:
            if -index > len(self):
                raise IndexError(f"index {index} is out of range for a ConcatDataset of {len(self)} samples")
            index += len(self)
        which = bisect.bisect_right(self.cumulative_sizes, index)
        if which == len(self.datasets):
            raise IndexError(f"index {index} is out of range for a ConcatDataset of {len(self)} samples")
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]


class ChainDataset(IterableDataset[T_co]):
    """Streams one after the other, as one stream.

    Errors: TypeError from ``len()`` where a stream has no length.

    >>> list(ChainDataset([[1, 2], [3]]))
    [1, 2, 3]
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        super().__init__()
        self.datasets = datasets

    def __iter__(self) -> Iterator[T_co]:
        for dataset in self.datasets:
            yield from dataset

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self.datasets)


class Subset(Dataset[T_co]):
    """The samples of ``dataset`` at ``indices``, in the order of the indices.

    Errors: IndexError for a position outside of ``indices``, and those of the dataset.

    >>> Subset(["a", "b", "c"], [2, 0])[0]
    'c'
    """

    def __init__(self, dataset: Any, indices: Sequence[Any]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return this subset's samples at ``indices``, by the dataset's ``__getitems__`` if it has one."""
        return _get_many(self.dataset, [self.indices[i] for i in indices])

    def __getbatch__(self, indices: Sequence[int]) -> Any:
        """Return the collated batch, if the dataset has ``__getbatch__``, otherwise NotImplemented."""
        whole = getattr(self.dataset, "__getbatch__", None)
        return NotImplemented if whole is None else whole([self.indices[i] for i in indices])

    def __len__(self) -> int:
        return len(self.indices)


def random_split(dataset: Any, lengths: Sequence[int | float], generator: Any = None) -> list[Subset[Any]]:
    """Split ``dataset`` at random into subsets of the given lengths, or of fractions that sum to 1.

    Lengths from fractions are rounded down; the samples left over go to the first subsets, one each.  The
    order is drawn from ``generator`` (accelgrad's or NumPy's; None: accelgrad's default one).

    Errors: ValueError where the lengths do not sum to the dataset's, or a fraction lies outside 0 ... 1.  A
    fraction that gives an empty subset is a warning.

    >>> [len(part) for part in random_split(range(10), [0.5, 0.3, 0.2])]
    [5, 3, 2]
    """
    # Fractions become lengths.
    counts = list(lengths)
    if counts and any(isinstance(part, float) for part in counts) and math.isclose(sum(counts), 1):
        if any(not 0 <= part <= 1 for part in counts):
            raise ValueError(f"random_split: every fraction must lie between 0 and 1, got {list(lengths)}")
        counts = [math.floor(len(dataset) * part) for part in counts]
        for position in range(len(dataset) - int(sum(counts))):
            counts[position % len(counts)] += 1
        for position, count in enumerate(counts):
            if count == 0:
                warnings.warn(
                    f"Length of split at index {position} is 0. This might result in an empty dataset."
                )
    if sum(counts) != len(dataset):
        raise ValueError(
            "Sum of input lengths does not equal the length of the input dataset!"
            f" The lengths {list(lengths)} sum to {sum(counts)},"
            f" the dataset has {len(dataset)} samples (fractions must sum to 1)"
        )
    order = numpy_generator(generator).permutation(len(dataset)).tolist()
    ends = list(itertools.accumulate(int(count) for count in counts))
    return [Subset(dataset, order[end - int(count) : end]) for end, count in zip(ends, counts, strict=True)]
