"""The sampler for training in several processes: each of them gets its own share of the dataset."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sized

import numpy as np

from accelgrad.utils.data.interop import new_generator
from accelgrad.utils.data.sampler import Sampler, as_integers

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler[int]):
    """One process's share of the indices: every ``num_replicas``-th one, beginning at ``rank``.

    All shares have the same length: the first indices are used again to fill up the end, or with
    ``drop_last`` the end is left out.  With ``shuffle`` the order depends on ``seed + epoch``: call
    :meth:`set_epoch` before each epoch.  Without ``num_replicas`` or ``rank`` the environment's variables
    WORLD_SIZE and RANK are read.

    Errors: ValueError for a rank outside 0 ... num_replicas - 1; RuntimeError where neither the argument nor
    the variable is there.

    >>> list(DistributedSampler(range(5), num_replicas=2, rank=1, shuffle=False))
    [1, 3, 0]
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.num_replicas = _from_environment("num_replicas", num_replicas, "WORLD_SIZE")
        self.rank = _from_environment("rank", rank, "RANK")
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(
                f"Invalid rank {self.rank}, rank should be in the interval [0, {self.num_replicas - 1}]"
            )
        self.dataset = dataset
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0

    @property
    def num_samples(self) -> int:
        """The number of indices in this share."""
        n = len(self.dataset)
        return n // self.num_replicas if self.drop_last else math.ceil(n / self.num_replicas)

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        order = new_generator(self.seed + self.epoch).numpy.permutation(n) if self.shuffle else np.arange(n)
        return as_integers(
            np.resize(order, self.num_samples * self.num_replicas)[self.rank :: self.num_replicas]
        )

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass shuffle by ``seed + epoch``."""
        self.epoch = epoch


def _from_environment(name: str, value: int | None, variable: str) -> int:
    """Return ``value``, or the environment's ``variable`` where it is None; RuntimeError without both."""
    if value is not None:
        return value
    if variable not in os.environ:
        raise RuntimeError(f"DistributedSampler needs {name}=, or the environment variable {variable}")
    return int(os.environ[variable])
