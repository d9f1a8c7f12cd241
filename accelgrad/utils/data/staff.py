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
    """What a loader keeps between passes: a pool of persistent workers, and the nursery they come from."""

    def __init__(self) -> None:
        self.idle: Pool | None = None
        self.persistent = False
        self.closed = False
        self.pid = os.getpid()
        self.nursery = shared_nursery()
        self.pools: weakref.WeakSet[Pool] = weakref.WeakSet()

    def supply(self, loader: Any) -> Supply | None:
        """What a new pool will need; None where one is idle."""
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
        pool = self.idle
        return None if pool is None or pool.closed or pool.pid != os.getpid() else pool

    def take(self, loader: Any, supply: Supply | None) -> Pool:
        """The idle pool, or a new one with ``supply``."""
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
        """A pass is over: its workers wait for the next one, or end."""
        if pool.closed or pool.pid != os.getpid():
            return
        if self.persistent and self.idle is None and not self.closed:
            pool.owner = weakref.ref(self)
            self.idle = pool
        else:
            pool.close()

    def close(self) -> None:
        """End all workers of the loader, also those of passes that are under way."""
        self.closed = True
        if self.pid != os.getpid():
            return
        with interrupts_held():
            close_pools(list(self.pools))
            self.idle = None
            self.nursery.release()
