"""Fetching one batch: samples out of the dataset, then collated; the same code with and without workers."""

from __future__ import annotations

import itertools
import operator
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from accelgrad.utils.data.collation import default_collate
from accelgrad.utils.data.info import position

__all__ = ["IterableFetcher", "MapFetcher", "describe", "make_fetcher"]


def describe(indices: Any) -> str:
    """Describe a batch's indices for a message, e.g. ``samples [0, 1, 2]``."""
    if isinstance(indices, Stream):
        return (
            f"the next {indices.count} samples of the stream"
            if indices.batched
            else "the next sample of the stream"
        )
    if not isinstance(indices, list | tuple | range):
        return f"sample {indices!r}"
    shown = ", ".join(repr(index) for index in indices[:8])
    return f"samples [{shown}{f', ... {len(indices) - 8} more' if len(indices) > 8 else ''}]"


class Stream:
    """The stand-in for indices with an iterable dataset: its next ``count`` samples."""

    __slots__ = ("batched", "count")

    def __init__(self, count: int, batched: bool) -> None:
        self.count = count
        self.batched = batched

    def __reduce__(self) -> Any:
        return Stream, (self.count, self.batched)


class MapFetcher:
    """Fetches batches of a dataset that has ``__getitem__``."""

    def __init__(self, dataset: Any, collate_fn: Callable[[Any], Any], batched: bool) -> None:
        self.dataset = dataset
        self.collate_fn = collate_fn
        self.batched = batched
        self.whole = (
            getattr(dataset, "__getbatch__", None) if collate_fn is default_collate and batched else None
        )
        self.many = getattr(dataset, "__getitems__", None) if batched else None
        self.fetched = 0.0  # time.perf_counter() when the last batch's samples were there, before collating

    def fetch(self, indices: Any, seed: int) -> Any:
        """Return the collated batch of ``indices`` (the sample of one index where batching is off)."""
        samples: list[Any] = []
        wanted: Sequence[Any] = indices if self.batched else (indices,)
        position.indices, position.samples, position.seed = wanted, samples, seed
        try:
            if self.whole is not None:
                batch = self.whole(indices)
                if batch is not NotImplemented:
                    self.fetched = time.perf_counter()
                    return batch
            self._fetch_samples(wanted, samples)
            self.fetched = time.perf_counter()
            return self.collate_fn(samples if self.batched else samples[0])
        except StopIteration as error:
            raise RuntimeError(
                "collate_fn raised StopIteration, which would end the epoch silently; raise another exception"
            ) from error
        finally:
            position.indices, position.samples = None, ()

    def _fetch_samples(self, indices: Sequence[Any], samples: list[Any]) -> None:
        """Append the samples at ``indices`` to ``samples``, which shows how far it has come."""
        if self.many is not None and callable(self.many):
            try:
                samples.extend(self.many(indices))
            except StopIteration as error:
                raise RuntimeError(
                    f"dataset.__getitems__ raised StopIteration for {describe(indices)}"
                ) from error
            if len(samples) != len(indices):
                raise RuntimeError(
                    f"dataset.__getitems__ returned {len(samples)} samples for {len(indices)} indices:"
                    f" {describe(indices)}"
                )
            return
        try:
            # In C from end to end; the length of `samples` tells which sample an exception or a generator
            # belongs to.
            samples.extend(map(operator.getitem, itertools.repeat(self.dataset), indices))
        except Exception as error:
            error.add_note(f"while fetching dataset[{indices[len(samples)]!r}]")
            raise
        if len(samples) < len(indices):  # a StopIteration looks to extend() like the end of the samples
            raise RuntimeError(
                f"dataset[{indices[len(samples)]!r}] raised StopIteration,"
                " which would end the epoch silently; a map-style dataset raises IndexError,"
                " and a stream is an IterableDataset"
            )


class IterableFetcher:
    """Fetches batches of an iterable dataset, until its iterator ends."""

    def __init__(self, dataset: Any, collate_fn: Callable[[Any], Any], drop_last: bool) -> None:
        self.dataset = dataset
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self.iterator: Iterator[Any] | None = None
        self.ended = False
        self.taken = 0
        self.fetched = 0.0

    def start(self) -> Iterator[Any]:
        """Return the iterator over the dataset; it is made in the first fetch, which its errors belong to."""
        if self.iterator is None:
            self.iterator = iter(self.dataset)
        return self.iterator

    def skip(self, count: int) -> None:
        """Pass over the next ``count`` samples."""
        for _ in itertools.islice(self.start(), count):
            self.taken += 1

    def fetch(self, what: Stream, seed: int) -> Any:
        """Return the next batch, collated; StopIteration at the end of the stream."""
        if self.ended:
            raise StopIteration
        samples: list[Any] = []
        position.indices, position.samples, position.seed = (
            range(self.taken, self.taken + what.count),
            samples,
            seed,
        )
        try:
            samples.extend(itertools.islice(self.start(), what.count))
            self.fetched = time.perf_counter()
            self.ended = len(samples) < what.count
            if not samples or (self.ended and self.drop_last and what.batched):
                raise StopIteration
            position.indices = None  # entries of a stream have no index to name
            try:
                return self.collate_fn(samples if what.batched else samples[0])
            except StopIteration as error:
                raise RuntimeError(
                    "collate_fn raised StopIteration, which would end the epoch silently;"
                    " raise another exception"
                ) from error
        finally:
            self.taken += len(samples)
            position.indices, position.samples = None, ()


def make_fetcher(
    dataset: Any, collate_fn: Callable[[Any], Any], *, iterable: bool, batched: bool, drop_last: bool
) -> MapFetcher | IterableFetcher:
    """Return the fetcher for this kind of dataset."""
    if iterable:
        return IterableFetcher(dataset, collate_fn, drop_last)
    return MapFetcher(dataset, collate_fn, batched)
