"""The timeline: the times at which each batch was fetched, collated, sent, and asked for."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["BatchRecord", "Timeline"]


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """The times of one batch, in seconds of ``time.perf_counter()``, which all processes of a machine share.

    In the worker: ``started`` -> fetch -> ``fetched`` -> collate -> ``collated`` -> pickling, sharing ->
    ``sent``.  In the main process: ``received`` (the loader took it from the socket), ``asked`` (``next()``
    was called for it) -> wait -> ``delivered`` (``next()`` returned it).  Without workers ``worker`` is None
    and the same moments follow each other.

    >>> record = BatchRecord(0, 5, 1, 4711, 1.0, 1.5, 1.75, 1.875, 2.0, 1.25, 2.25)
    >>> record.fetch, record.collate, record.transfer, record.wait
    (0.5, 0.25, 0.125, 1.0)
    """

    epoch: int
    batch: int
    worker: int | None
    pid: int
    started: float
    fetched: float
    collated: float
    sent: float
    received: float
    asked: float
    delivered: float

    @property
    def fetch(self) -> float:
        """Seconds spent in ``dataset[...]``."""
        return self.fetched - self.started

    @property
    def collate(self) -> float:
        """Seconds spent in ``collate_fn``."""
        return self.collated - self.fetched

    @property
    def transfer(self) -> float:
        """Seconds for packing and sending in the worker."""
        return self.sent - self.collated

    @property
    def wait(self) -> float:
        """Seconds that the main process waited in ``next()``."""
        return self.delivered - self.asked

    def as_dict(self) -> dict[str, float | int | None]:
        """Return all fields by name, e.g. for JSON or a table."""
        return {name: getattr(self, name) for name in self.__slots__}


class Timeline:
    """A loader's records: the latest ``limit`` of them, kept while recording is on."""

    def __init__(self) -> None:
        self.on = False
        self.records: deque[BatchRecord] = deque()

    def start(self, limit: int) -> None:
        """Record from now on, and forget what was recorded before."""
        self.records = deque(maxlen=limit)
        self.on = True
