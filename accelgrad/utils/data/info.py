"""Where the running code stands: in which worker, in which batch, at which sample."""

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
    """The batch that this thread is fetching: its indices, the samples that are there already, the epoch's
    seed."""

    indices: Sequence[Any] | None = None
    samples: Sequence[Any] = ()
    seed: int = 0


position = _Position()


def sample_generator(index: Any = None) -> Any:
    """A generator for the sample that is being fetched, to be called within ``__getitem__``.

    It depends on the epoch's seed and the sample's index only: an augmentation drawn from it is the same for
    any number of workers, 0 included, and after :meth:`DataLoader.load_state_dict`.  Within ``__getitems__``,
    which fetches many samples at once, pass the ``index``.  Its ``.numpy`` is a ``numpy.random.Generator``.

    Raises RuntimeError outside of a loader, except where ``index`` is given (then the seed is 0).
    """
    if index is None:
        indices = position.indices
        if indices is None:
            raise RuntimeError(
                "sample_generator() knows the sample only while a DataLoader fetches it: call it in"
                " __getitem__, or name the sample, sample_generator(index)"
            )
        index = indices[min(len(position.samples), len(indices) - 1)]
    whole = isinstance(index, int | np.integer)
    key = int(index) % 2**64 if whole else zlib.crc32(repr(index).encode())
    state = np.random.SeedSequence([position.seed, key, int(whole)]).generate_state(1, np.uint64)
    return new_generator(int(state[0]))


class WorkerInfo:
    """What a worker knows about itself: ``id``, ``num_workers``, ``seed``, ``dataset`` (its copy), ``pid``.

    ``generator`` is :func:`sample_generator` of the sample being fetched.
    """

    def __init__(self, id: int, num_workers: int, seed: int, dataset: Any) -> None:
        self.id = id
        self.num_workers = num_workers
        self.seed = seed
        self.dataset = dataset
        self.pid = os.getpid()

    @property
    def generator(self) -> Any:
        """A generator that depends on the epoch and the sample only, not on the worker."""
        return sample_generator()

    def __repr__(self) -> str:
        return (
            f"WorkerInfo(id={self.id}, num_workers={self.num_workers}, seed={self.seed},"
            f" dataset={self.dataset!r})"
        )


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker its :class:`WorkerInfo`; None in the main process.

    >>> get_worker_info() is None
    True
    """
    return _info


def set_worker_info(info: WorkerInfo | None) -> None:
    """Declare this process a worker."""
    global _info
    _info = info
