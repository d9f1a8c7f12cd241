"""The DataLoader: batches of a dataset, fetched by the program itself or by worker processes."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from accelgrad.utils.data.collation import default_collate, default_convert
from accelgrad.utils.data.dataset import IterableDataset
from accelgrad.utils.data.info import get_worker_info
from accelgrad.utils.data.iterator import LoaderIterator, SimpleIterator, WorkersIterator
from accelgrad.utils.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler
from accelgrad.utils.data.staff import Staff
from accelgrad.utils.data.timeline import BatchRecord, Timeline

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]

DEEP = 8  # the prefetch factor for small and quick batches, where none was given
METHODS = ("fork", "forkserver", "spawn")
# Attributes that may not be set on a loader.
FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")


class _Endless(Sampler[None]):
    """The sampler of an iterable dataset, which has no indices: it gives None without end."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


class DataLoader:
    """Batches of a dataset, in any order, fetched ahead by worker processes.

    The arguments, their defaults and their meaning are those of ``torch.utils.data.DataLoader``:

    - ``dataset``: has ``__getitem__`` and ``__len__``, or is an :class:`IterableDataset`;
    - ``batch_size``: samples in a batch; None gives single samples instead of batches;
    - ``shuffle``, ``sampler``, ``batch_sampler``, ``drop_last``: the order, see the samplers;
    - ``num_workers``: processes that fetch and collate; with 0 the program does it itself;
    - ``collate_fn``: makes a batch of a list of samples, by default :func:`default_collate`; see also
      :class:`PadCollate`;
    - ``pin_memory``: batches in page-locked memory; without a card it does nothing;
    - ``timeout``: seconds that one ``next()`` may wait (0: for ever, with a warning after a minute without a
      sign of any worker);
    - ``worker_init_fn(worker_id)``: called once in every worker, after seeding;
    - ``multiprocessing_context``: "forkserver" (the default on Linux), "spawn", "fork", or a context of
      :mod:`multiprocessing` for one of these;
    - ``generator``: an accelgrad or NumPy generator for shuffling and for the workers' seeds;
    - ``prefetch_factor``: batches that each worker makes ahead; None means 2, and 8 once batches turn out to
      be small (512 KiB) and made in less than a millisecond;
    - ``persistent_workers``: workers stay for the next epoch;
    - ``in_order=False``: give out batches as they come.

    Beyond PyTorch: a loader is a context manager and has :meth:`close`; :meth:`state_dict` works in the
    middle of an epoch; :meth:`record_timeline` records times; after an exception, even after the death of a
    worker, the next ``next()`` goes on with the following batch.

    Errors: ValueError or TypeError for arguments that are wrong, or do not go together.  While iterating: an
    exception of the dataset, of type and arguments as raised there; RuntimeError for a worker that died, and
    after ``timeout``.

    >>> loader = DataLoader([1, 2, 3], batch_size=2)
    >>> [batch.array.tolist() for batch in loader]
    [[1, 2], [3]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        # Arguments that are wrong, or do not go together.
        if isinstance(num_workers, bool) or not isinstance(num_workers, int) or num_workers < 0:
            raise ValueError(
                "num_workers option should be a non-negative integer;"
                f" use num_workers=0 to disable multiprocessing, got {num_workers!r}"
            )
        if timeout < 0:
            raise ValueError(f"timeout option should be non-negative, got {timeout!r}")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError(
                "prefetch_factor option could only be specified in multiprocessing:"
                " let num_workers > 0 to enable it, otherwise set prefetch_factor to None"
            )
        if prefetch_factor is not None and prefetch_factor < 1:
            raise ValueError(f"prefetch_factor option should be a positive integer, got {prefetch_factor!r}")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")
        # PyTorch's attributes.
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor if prefetch_factor is not None or num_workers == 0 else 2
        # How many batches ahead a worker may get at most: more with small batches, where no number was given.
        self.deepest = DEEP if prefetch_factor is None and num_workers > 0 else self.prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.generator = generator
        self.persistent_workers = persistent_workers
        self.in_order = in_order
        self.iterable = isinstance(dataset, IterableDataset)
        self.multiprocessing_context = multiprocessing_context
        self._choose_samplers(batch_size, shuffle, sampler, batch_sampler, drop_last)
        self.collate_fn = collate_fn or (default_collate if self.batched else default_convert)
        self.fetches_whole = (
            self.batched and self.collate_fn is default_collate and hasattr(dataset, "__getbatch__")
        )
        # The state of the loader: what has been warned of, where it stands, its workers.
        self.declared_length: int | None = None
        self.warned_length = self.warned_budget = False
        self._passes = 0  # iterators made
        self._resume: dict[str, Any] | None = None
        self._latest: weakref.ref[LoaderIterator] | None = None
        self._timeline = Timeline()
        self._staff = Staff()
        self._finalizer = weakref.finalize(self, self._staff.close)
        self._finalizer.atexit = False  # pool.py ends all workers at exit, together
        self._initialized = True

    def _choose_samplers(
        self, batch_size: Any, shuffle: Any, sampler: Any, batch_sampler: Any, drop_last: bool
    ) -> None:
        """Check the arguments about the order, and set the sampler and the batch sampler by them."""
        # Arguments that exclude each other.
        if self.iterable:
            if shuffle:
                raise ValueError(
                    "DataLoader with IterableDataset: expected unspecified shuffle option,"
                    f" but got shuffle={shuffle}; shuffle within the stream, for instance through a buffer"
                )
            for name, value in (("sampler", sampler), ("batch_sampler", batch_sampler)):
                if value is not None:
                    raise ValueError(
                        f"DataLoader with IterableDataset: expected unspecified {name} option,"
                        f" but got {value}"
                    )
        elif sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler,"
                    " and drop_last"
                )
            batch_size, drop_last = None, False
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
            )
        # The samplers where none are given.
        if sampler is None:
            if self.iterable:
                sampler = _Endless()
            elif batch_sampler is not None:
                sampler = SequentialSampler(self.dataset)
            elif shuffle:
                sampler = RandomSampler(self.dataset, generator=self.generator)
            else:
                sampler = SequentialSampler(self.dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size, self.drop_last = batch_size, drop_last
        self.sampler, self.batch_sampler = sampler, batch_sampler
        self.batched = batch_sampler is not None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in FIXED and self.__dict__.get("_initialized"):
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    @property
    def multiprocessing_context(self) -> Any:
        """The start method or the context that was given; None for the default."""
        return self._context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context: Any) -> None:
        self.start_method = _start_method(context, self.num_workers)
        self._context = context

    # --- passes

    def __iter__(self) -> LoaderIterator:
        resume, self._resume = self._resume, None
        number = self._passes if resume is None else resume["number"]
        kind = SimpleIterator if self.num_workers == 0 else WorkersIterator
        iterator = kind(self, number, resume)
        self._passes = number + 1
        self._latest = weakref.ref(iterator)
        return iterator

    def __len__(self) -> int:
        """Return the number of batches; TypeError where the dataset or sampler has no length.

        For an iterable dataset it is an estimate: where workers have uneven shares, their last batches may
        come on top.
        """
        if not self.iterable:
            return len(self.sampler if self.batch_sampler is None else self.batch_sampler)
        length = len(self.dataset)
        if self.batch_size is not None:
            length = length // self.batch_size if self.drop_last else -(-length // self.batch_size)
        self.declared_length = length
        return length

    # --- state and end

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the latest pass, from which :meth:`load_state_dict` lets a pass go on.

        The remaining batches are the same to the bit, with workers and without, if the dataset draws from
        Python's, NumPy's or accelgrad's generators, from generators that are attributes of the dataset, or
        from :func:`sample_generator`.  With workers their number must be the same for that (the order of
        samples does not depend on it).  To restore, workers fetch a few batches once more, those since the
        last snapshot of the generators (one each 50 ms); an iterable dataset is iterated from its beginning.

        The dict holds plain data and NumPy arrays and can be pickled.  After the end of a pass, and where its
        iterator exists no more, it describes the next one.

        >>> loader = DataLoader([1, 2, 3, 4])
        >>> batches = iter(loader)
        >>> first, state = next(batches), loader.state_dict()
        >>> loader.load_state_dict(state)
        >>> [batch.item() for batch in loader]
        [2, 3, 4]
        """
        iterator = self._latest() if self._latest is not None else None
        common = {"version": 1, "iterable": self.iterable}
        if self._resume is not None:
            return self._resume
        if iterator is None or iterator.finished:
            return {**common, "number": self._passes, "finished": True}
        return {**common, **iterator.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next pass begin at a position of :meth:`state_dict`; ValueError if it does not fit."""
        if state_dict.get("version") != 1 or state_dict.get("iterable") is not self.iterable:
            raise ValueError(
                "load_state_dict expects what state_dict() of a DataLoader over the same kind of dataset"
                f" returned, got keys {sorted(map(str, state_dict))[:6]}"
            )
        if state_dict["finished"]:
            self._resume, self._passes = None, state_dict["number"]
            return
        workers = state_dict.get("workers", 0)
        if (self.iterable and workers != self.num_workers) or (workers == 0) != (self.num_workers == 0):
            raise ValueError(
                f"load_state_dict: the state was taken with num_workers={workers},"
                f" this loader has {self.num_workers}; streams belong to workers, and so do random numbers"
            )
        self._resume = state_dict

    def close(self) -> None:
        """End all workers, persistent ones too, within a second.

        Batches that were given out stay readable; a new pass starts new workers.
        """
        self._staff.close()

    def __enter__(self) -> DataLoader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(
            "cannot pickle 'DataLoader' object: it owns processes;"
            " pickle its dataset, and its state_dict() for the position"
        )

    # --- timeline

    def record_timeline(self, limit: int = 100_000) -> None:
        """Record the times of every batch from now on, the latest ``limit`` of them; see :meth:`timeline`."""
        self._timeline.start(limit)

    def timeline(self) -> list[BatchRecord]:
        """Return a :class:`BatchRecord` for every batch given out since :meth:`record_timeline`.

        >>> loader = DataLoader([1, 2, 3])
        >>> loader.record_timeline()
        >>> _ = list(loader)
        >>> [record.batch for record in loader.timeline()]
        [0, 1, 2]
        """
        return list(self._timeline.records)


def _start_method(context: Any, workers: int) -> str:
    """Return the name of the start method for ``multiprocessing_context``, a name, a context or None."""
    default = "forkserver" if sys.platform == "linux" else "spawn"
    if context is None:
        return default
    if workers == 0:
        raise ValueError(
            "multiprocessing_context can only be used with multi-process loading (num_workers > 0),"
            " but got num_workers=0"
        )
    method = context if isinstance(context, str) else getattr(context, "get_start_method", lambda: None)()
    if not isinstance(method, str):
        raise TypeError(
            "multiprocessing_context option should be a valid context object"
            f" or a string specifying the start method, but got multiprocessing_context={context!r}"
        )
    known = METHODS if hasattr(os, "fork") else ("spawn",)
    if method not in known:
        raise ValueError(
            f"multiprocessing_context option should specify a valid start method in {list(known)!r},"
            f" but got {method!r}"
        )
    return method
