"""Samplers: the order in which a dataset's samples are visited, and their grouping into batches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

import numpy as np

from accelgrad.utils.data.interop import array_of, draw_seed, new_generator, numpy_generator

__all__ = [
    "Sampler",
    "SequentialSampler",
    "RandomSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
    "BatchSampler",
    "LengthBucketBatchSampler",
]

T_co = TypeVar("T_co", covariant=True)
CHUNK = 1 << 16  # indices turned into Python integers at a time


class Sampler(Generic[T_co]):
    """An iterable of indices, or of lists of indices (a batch sampler); a subclass defines ``__iter__``.

    Errors: NotImplementedError where it does not.

    >>> class Backwards(Sampler):
    ...     def __init__(self, data_source):
    ...         self.data_source = data_source
    ...     def __iter__(self):
    ...         return iter(range(len(self.data_source) - 1, -1, -1))
    >>> list(Backwards("abc"))
    [2, 1, 0]
    """

    def __init__(self, data_source: Any = None) -> None:
        pass

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__(self)")


def _positive(name: str, value: Any) -> int:
    """Return ``value``; ValueError unless it is an int above 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ValueError(f"{name} should be a positive integer value, but got {name}={value!r}")
    return value


def _boolean(name: str, value: Any) -> bool:
    """Return ``value``; TypeError unless it is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} should be a boolean value, but got {name}={value!r}")
    return value


def as_integers(order: np.ndarray) -> Iterator[int]:
    """Yield the entries as Python integers, made a chunk at a time: a list of 10^8 would take 4 GB."""
    for start in range(0, len(order), CHUNK):
        yield from order[start : start + CHUNK].tolist()


class SequentialSampler(Sampler[int]):
    """The indices 0, 1, 2, ... up to the length of ``data_source``.

    >>> list(SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """A random permutation of the indices, or with ``replacement`` independent draws.

    ``num_samples`` says how many (None: the length of ``data_source``); a permutation that is too short is
    followed by another one.  ``generator`` is accelgrad's or NumPy's; without one each pass draws a seed from
    accelgrad's default generator.

    Errors: TypeError or ValueError for a wrong argument; ValueError from an empty ``data_source``.

    >>> sorted(RandomSampler(range(5)))
    [0, 1, 2, 3, 4]
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Any = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = _boolean("replacement", replacement)
        self._num_samples = None if num_samples is None else _positive("num_samples", num_samples)
        self.generator = generator

    @property
    def num_samples(self) -> int:
        """The number of indices in one pass."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n, wanted = len(self.data_source), self.num_samples
        if n == 0 and wanted > 0:
            raise ValueError(f"RandomSampler: cannot draw {wanted} samples from an empty dataset")
        random = numpy_generator(new_generator(draw_seed()) if self.generator is None else self.generator)
        if self.replacement:
            for start in range(0, wanted, CHUNK):
                yield from random.integers(n, size=min(CHUNK, wanted - start)).tolist()
            return
        while wanted > 0:
            order = random.permutation(n)[:wanted]
            yield from as_integers(order)
            wanted -= len(order)

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given indices in random order, drawn from ``generator`` (None: accelgrad's default one).

    >>> sorted(SubsetRandomSampler([3, 1, 4]))
    [1, 3, 4]
    """

    def __init__(self, indices: Sequence[int], generator: Any = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for position in as_integers(numpy_generator(self.generator).permutation(len(self.indices))):
            yield self.indices[position]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """``num_samples`` indices drawn with probabilities proportional to ``weights``, (n,).

    Without ``replacement``, each index gets a key ``log(u) / weight`` with u uniform in (0, 1], and the
    indices of the largest keys are given, largest first (Efraimidis & Spirakis 2006, "Weighted random
    sampling with a reservoir", Algorithm A).  ``weights`` need not sum to 1; they are kept as float64.

    Errors: TypeError or ValueError for a wrong argument; ValueError for weights that are negative, infinite,
    all 0 or not one-dimensional, and for more samples without replacement than there are positive weights.

    >>> list(WeightedRandomSampler([0.0, 1.0], 3))
    [1, 1, 1]
    """

    def __init__(
        self, weights: Sequence[float], num_samples: int, replacement: bool = True, generator: Any = None
    ) -> None:
        self.num_samples = _positive("num_samples", num_samples)
        self.replacement = _boolean("replacement", replacement)
        self.weights = np.asarray(array_of(weights), dtype=np.float64)
        self.generator = generator
        if self.weights.ndim != 1:
            raise ValueError(
                f"weights should be a 1d sequence but given weights have shape {self.weights.shape}"
            )
        if not np.all(np.isfinite(self.weights)) or np.any(self.weights < 0) or not self.weights.sum() > 0:
            raise ValueError("weights should be finite and not negative, and at least one must be positive")
        if not self.replacement and num_samples > np.count_nonzero(self.weights):
            raise ValueError(
                f"WeightedRandomSampler: cannot draw {num_samples} samples without replacement from"
                f" {np.count_nonzero(self.weights)} positive weights"
            )

    def __iter__(self) -> Iterator[int]:
        random = numpy_generator(self.generator)
        if self.replacement:
            upper = np.cumsum(self.weights)
            drawn = np.searchsorted(upper, random.random(self.num_samples) * upper[-1], side="right")
            drawn = np.minimum(drawn, np.flatnonzero(self.weights)[-1])  # rounding may reach the very end
        else:
            with np.errstate(divide="ignore"):
                keys = np.log1p(-random.random(len(self.weights))) / self.weights
            keys[self.weights == 0] = -np.inf
            drawn = np.argsort(-keys)[: self.num_samples]
        return iter(drawn.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of ``batch_size`` indices taken from another sampler; a shorter last one unless ``drop_last``.

    Errors: ValueError for a ``batch_size`` that is no positive int; TypeError for a ``drop_last`` that is no
    bool, and from ``len()`` where the sampler has no length.

    >>> list(BatchSampler(range(5), 2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[Any], batch_size: int, drop_last: bool) -> None:
        self.sampler = sampler
        self.batch_size = _positive("batch_size", batch_size)
        self.drop_last = _boolean("drop_last", drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        indices, size = iter(self.sampler), self.batch_size
        while batch := list(itertools.islice(indices, size)):
            if len(batch) < size and self.drop_last:
                return
            yield batch

    def ranges(self) -> Iterator[range] | None:
        """Return the batches as ranges, quick to slice by, if the sampler is sequential; otherwise None."""
        if type(self) is not BatchSampler or type(self.sampler) is not SequentialSampler:
            return None
        n, size = len(self.sampler), self.batch_size
        last = n - n % size if self.drop_last else n
        return (range(at, min(at + size, n)) for at in range(0, last, size))

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


class LengthBucketBatchSampler(Sampler[list[int]]):
    """Lists of indices of samples of similar length, so that padding a batch wastes little.

    The indices are shuffled and cut into pools of ``pool`` batches.  Each pool is sorted by length and cut
    into batches, and the batches of a pool are shuffled again: lengths within a batch are similar, the order
    of the batches is random.  Without ``shuffle`` neither is shuffled.  A shorter batch comes last, or is
    left out with ``drop_last``.

    ``lengths`` is a sequence of integers, (n,), or a dataset whose samples' lengths are ``key(sample)`` (by
    default ``len``).

    Errors: TypeError or ValueError for a wrong argument; ValueError for lengths of another shape.

    >>> sampler = LengthBucketBatchSampler([5, 1, 4, 2], batch_size=2, shuffle=False)
    >>> list(sampler), len(sampler)
    ([[1, 3], [2, 0]], 2)
    """

    def __init__(
        self,
        lengths: Any,
        batch_size: int,
        *,
        shuffle: bool = True,
        drop_last: bool = False,
        pool: int = 50,
        key: Callable[[Any], int] | None = None,
        generator: Any = None,
    ) -> None:
        self.batch_size = _positive("batch_size", batch_size)
        self.pool = _positive("pool", pool)
        self.shuffle = _boolean("shuffle", shuffle)
        self.drop_last = _boolean("drop_last", drop_last)
        self.generator = generator
        values: Any = array_of(lengths)
        if key is not None or not _all_integers(values):
            measure = len if key is None else key
            values = np.array([measure(values[i]) for i in range(len(values))])
        self.lengths = np.asarray(values, dtype=np.int64)
        if self.lengths.ndim != 1:
            raise ValueError(
                f"lengths should be one integer for each sample, but their shape is {self.lengths.shape}"
            )

    def __iter__(self) -> Iterator[list[int]]:
        n, size = len(self.lengths), self.batch_size
        random = numpy_generator(new_generator(draw_seed()) if self.generator is None else self.generator)
        order = random.permutation(n) if self.shuffle else np.arange(n)
        short: list[int] | None = None
        for start in range(0, n, self.pool * size):
            chosen = order[start : start + self.pool * size]
            by_length = chosen[np.argsort(self.lengths[chosen], kind="stable")].tolist()
            batches = [by_length[i : i + size] for i in range(0, len(by_length), size)]
            if len(batches[-1]) < size:  # a short batch: only the last pool has one, and it is given last
                short = batches.pop()
            for which in random.permutation(len(batches)) if self.shuffle else range(len(batches)):
                yield batches[which]
        if short is not None and not self.drop_last:
            yield short

    def __len__(self) -> int:
        n = len(self.lengths)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


def _all_integers(values: Any) -> bool:
    """Return whether these are lengths themselves, not a dataset whose samples are to be measured."""
    if isinstance(values, np.ndarray):
        return values.ndim == 1 and values.dtype.kind in "iu"
    return isinstance(values, list | tuple | range) and all(
        isinstance(value, int | np.integer) for value in values
    )
