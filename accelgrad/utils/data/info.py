"""The place of the running code: which worker it is in, at which batch, at which sample."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.utils.data.interop import new_generator

__all__ = ["WorkerInfo", "get_worker_info", "position", "sample_generator"]


class _Position(threading.local):
    """The batch that this thread is fetching: its indices, the samples fetched so far, the epoch's seed."""

    indices: Sequence[Any] | None = None
    samples: Sequence[Any] = ()
    seed: int = 0


position = _Position()


def sample_generator(index: Any = None) -> Any:
    """Return a generator for the sample that is being fetched; call it within ``__getitem__``.

    It depends on the epoch's seed and the sample's index only: an augmentation drawn from it is the same for
    any number of workers, 0 included, and after :meth:`DataLoader.load_state_dict`.  Within ``__getitems__``,
    which fetches many samples at once, pass the ``index``.  It is an accelgrad generator, whose ``.numpy`` is
    a ``numpy.random.Generator``.

    Errors: RuntimeError outside of a loader where ``index`` is not given (with it, the epoch's seed is 0
    there).

    >>> first, again = sample_generator(3), sample_generator(3)
    >>> int(first.numpy.integers(100)) == int(again.numpy.integers(100))
    True
    """
    if index is None:
        indices = position.indices
        if indices is None:
            raise RuntimeError(
                "sample_generator() knows the sample only while a DataLoader fetches it:"
                " call it in __getitem__, or name the sample, sample_generator(index)"
            )
        index = indices[min(len(position.samples), len(indices) - 1)]
    whole = isinstance(index, int | np.integer)
    key = int(index) % 2**64 if whole else zlib.crc32(repr(index).encode())
    state = np.random.SeedSequence([position.seed, key, int(whole)]).generate_state(1, np.uint64)
    return new_generator(int(state[0]))


class WorkerInfo:
    """A worker's facts about itself, as :func:`get_worker_info` returns them.

    ``id`` counts from 0 to ``num_workers - 1``; ``seed`` is this worker's own in this epoch; ``dataset`` is
    its copy of the dataset; ``pid`` its process; ``generator`` that of the sample being fetched.

    >>> WorkerInfo(id=0, num_workers=2, seed=7, dataset=[1, 2])
    WorkerInfo(id=0, num_workers=2, seed=7, dataset=[1, 2])
    """

    def __init__(self, id: int, num_workers: int, seed: int, dataset: Any) -> None:
        self.id = id
        self.num_workers = num_workers
        self.seed = seed
        self.dataset = dataset
        self.pid = os.getpid()

    @property
    def generator(self) -> Any:
        """The sample's generator, see :func:`sample_generator`; it does not depend on the worker."""
        return sample_generator()

    def __repr__(self) -> str:
        return (
            f"WorkerInfo(id={self.id}, num_workers={self.num_workers}, seed={self.seed},"
            f" dataset={self.dataset!r})"
        )


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """Return the :class:`WorkerInfo` of this worker process; None in the main process.

    An :class:`IterableDataset` asks it for its share of the stream.

    >>> get_worker_info() is None
    True
    """
    return _info


def set_worker_info(info: WorkerInfo | None) -> None:
    """Declare this process a worker (None: not one)."""
    global _info
    _info = info
