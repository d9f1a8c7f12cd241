"""The order of an epoch: the sampler's batches of indices, which can be drawn again after an interruption."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from typing import Any

from accelgrad.utils.data.interop import draw_seed
from accelgrad.utils.data.sampler import BatchSampler
from accelgrad.utils.data.seeding import find_generators, global_states, set_global_states
from accelgrad.utils.data.seeding import get_state as state_of
from accelgrad.utils.data.seeding import set_state as set_state_of

__all__ = ["Order"]


class Order:
    """The indices of one epoch's batches, one after the other.

    It first saves the state of every generator that a sampler may draw from.  So the same order can be drawn
    again: to resume an epoch from a state dict, or after a KeyboardInterrupt inside the sampler itself (which
    ends a generator function for good, and would otherwise look like the end of the epoch).
    """

    def __init__(self, loader: Any, states: Any = None, skip: int = 0) -> None:
        self.loader = loader
        self.held = find_generators([loader.generator, loader.sampler, loader.batch_sampler])
        now = global_states()
        if states is not None:
            self._restore(states)
        self.states = global_states(), [state_of(generator) for generator in self.held]
        self.seed = draw_seed(loader.generator)
        self.count = 0  # batches taken
        self.iterator: Iterator[Any] | None = None
        self.ahead: deque[Any] = deque()  # the next batch, if it has been pulled from the sampler already
        self.error: Exception | None = None
        self.skipped: list[Any] = []
        if not loader.iterable:
            self._open(skip)
            if skip == 0:
                self._pull()  # now, so that what the user draws later cannot change the order
        if states is not None:
            set_global_states(now)

    def _restore(self, states: Any) -> None:
        """Bring all generators back to ``states``."""
        everywhere, held = states
        set_global_states(everywhere)
        for generator, state in zip(self.held, held, strict=True):
            set_state_of(generator, state)

    def _open(self, skip: int) -> None:
        """Start the sampler, and pass over its first ``skip`` batches."""
        loader = self.loader
        iterator: Iterator[Any] | None = None
        if loader.fetches_whole and isinstance(loader.batch_sampler, BatchSampler):
            iterator = loader.batch_sampler.ranges()
        if iterator is None:
            iterator = iter(loader.sampler if loader.batch_sampler is None else loader.batch_sampler)
        self.skipped = list(itertools.islice(iterator, skip))
        self.count, self.iterator = skip, iterator

    def _reopen(self) -> None:
        """Start the sampler again after an interrupt, with the same order, at the batch where it was."""
        now, held = global_states(), [state_of(generator) for generator in self.held]
        count = self.count
        try:
            self._restore(self.states)
            draw_seed(self.loader.generator)
            self._open(count)
        finally:
            set_global_states(now)
            for generator, state in zip(self.held, held, strict=True):
                set_state_of(generator, state)

    def _pull(self) -> None:
        """Take the next batch of the sampler into ``ahead``, or its exception into ``error``."""
        if self.iterator is None:
            self._reopen()
        assert self.iterator is not None
        try:
            self.ahead.extend(itertools.islice(self.iterator, 1))
        except Exception as error:
            self.error = error
        except BaseException:
            self.iterator = None
            raise

    def peek(self) -> Any:
        """Return the next batch's indices, which stay the next ones until :meth:`taken` is called.

        StopIteration at the end; the sampler's exception, at each call until :attr:`error` is cleared.
        """
        if not self.ahead and self.error is None:
            self._pull()
        if self.ahead:
            return self.ahead[0]
        if self.error is not None:
            raise self.error
        raise StopIteration

    def taken(self) -> None:
        """Go on to the batch after the one that :meth:`peek` returned."""
        self.ahead, self.count = deque(), self.count + 1
