"""The workers of one loader, from pass to pass: a new pool for each pass, or a persistent one that waits."""

from __future__ import annotations

import os
import weakref
from typing import Any

from accelgrad.utils.data import portable
from accelgrad.utils.data.interrupts import interrupts_held
from accelgrad.utils.data.nursery import shared_nursery
from accelgrad.utils.data.pool import Pool, Supply, close_pools, sweep

__all__ = ["Staff"]


class Staff:
    """The workers that a loader keeps between passes, if they are persistent, and the nursery of them all."""

    def __init__(self) -> None:
        self.idle: Pool | None = None
        self.persistent = False
        self.closed = False
        self.pid = os.getpid()
        self.nursery = shared_nursery()
        self.pools: weakref.WeakSet[Pool] = weakref.WeakSet()

    def supply(self, loader: Any) -> Supply | None:
        """Pickle the dataset and what else a new pool will need; None where a pool is idle."""
        if self._idle_pool() is not None:
            return None
        sweep()
        method = loader.start_method
        if method != "fork" and not portable.DIRECT:
            self.closed, self.pid = False, os.getpid()
            self.nursery.get()  # it starts up while the dataset is pickled
        parts = {
            "dataset": loader.dataset,
            "collate_fn": loader.collate_fn,
            "worker_init_fn": loader.worker_init_fn,
        }
        settings = {
            "iterable": loader.iterable,
            "batched": loader.batched,
            "drop_last": loader.drop_last,
            "slots": (loader.deepest or 0) + 2,  # one that the program looks at, one that is being filled
        }
        return Supply(loader.num_workers, method, parts, settings)

    def _idle_pool(self) -> Pool | None:
        """Return the idle pool, if it is still open and was not inherited through a fork."""
        pool = self.idle
        return None if pool is None or pool.closed or pool.pid != os.getpid() else pool

    def take(self, loader: Any, supply: Supply | None) -> Pool:
        """Return the idle pool, or start a new one with ``supply``."""
        pool, self.idle = self._idle_pool(), None
        if pool is None:
            if supply is None:  # another thread has taken the idle one in the meantime
                supply = self.supply(loader)
                assert supply is not None
            self.persistent, self.closed, self.pid = loader.persistent_workers, False, os.getpid()
            pool = Pool(loader.num_workers, loader.start_method, supply)
            self.pools.add(pool)
        return pool

    def put_back(self, pool: Pool) -> None:
        """Take back the pool of a pass that is over: persistent workers wait for the next one, others end."""
        if pool.closed or pool.pid != os.getpid():
            return
        if self.persistent and self.idle is None and not self.closed:
            pool.owner = weakref.ref(self)
            self.idle = pool
        else:
            pool.close()

    def close(self) -> None:
        """End all workers of the loader, also those of a pass that is running."""
        self.closed = True
        if self.pid != os.getpid():
            return
        with interrupts_held():
            close_pools(list(self.pools))
            self.idle = None
            self.nursery.release()
