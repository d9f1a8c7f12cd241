"""The verifiers of notebook 07 accept what is right and refuse what is not."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np

import accelgrad
from accelgrad.mentor.checks import check
from accelgrad.utils.data import IterableDataset, get_worker_info


def test_right_numbers_of_batches():
    assert check("07.batches", lambda n, size, drop: n // size if drop else -(-n // size))
    assert check("07.batches", lambda n, size, drop: n // size + (not drop and n % size > 0))


def test_wrong_numbers_of_batches_get_a_fitting_hint():
    floor = check("07.batches", lambda n, size, drop: n // size)
    assert not floor and "drop_last=False" in floor.message
    ceiling = check("07.batches", lambda n, size, drop: -(-n // size))
    assert not ceiling and "drop_last=True" in ceiling.message
    one_more = check("07.batches", lambda n, size, drop: n // size + (not drop))
    assert not one_more and "n=0" in one_more.message
    by_float = check("07.batches", lambda n, size, drop: n // size if drop else math.ceil(n / size))
    assert not by_float and "float" in by_float.message
    assert check("07.batches", ...).state == "open"


def test_right_weights():
    def by_unique(labels):
        _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
        return 100.0 / counts[place]

    assert check("07.balance", by_unique)
    assert check("07.balance", lambda labels: [1 / labels.tolist().count(one) for one in labels.tolist()])
    assert check("07.balance", lambda labels: accelgrad.from_numpy(by_unique(labels)))


def test_wrong_weights_get_a_fitting_hint():
    equal = check("07.balance", lambda labels: np.ones(len(labels)))
    assert not equal and "shares" in equal.message
    by_class = check("07.balance", lambda labels: 1 / np.unique(labels, return_counts=True)[1])
    assert not by_class and "one for each *sample*" in by_class.message
    frequent = check("07.balance", lambda labels: np.bincount(labels)[labels])
    assert not frequent and "shares" in frequent.message
    nothing_for_common = check("07.balance", lambda labels: (labels != labels[0]).astype(float))
    assert not nothing_for_common and "positive" in nothing_for_common.message


class Strided(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        worker = get_worker_info()
        if worker is None:
            yield from range(self.n)
        else:
            yield from islice(range(self.n), worker.id, None, worker.num_workers)


class Blocks(Strided):
    def __iter__(self):
        worker = get_worker_info()
        number, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return iter(range(self.n * number // count, self.n * (number + 1) // count))


class Everything(Strided):
    def __iter__(self):
        return iter(range(self.n))


class RestLost(Strided):
    def __iter__(self):
        worker = get_worker_info()
        number, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        share = self.n // count
        return iter(range(share * number, share * (number + 1)))


class NeedsWorkers(Strided):
    def __iter__(self):
        worker = get_worker_info()
        return iter(range(worker.id, self.n, worker.num_workers))


class FirstOnly(Strided):
    def __iter__(self):
        worker = get_worker_info()
        return iter(range(self.n if worker is None or worker.id == 0 else 0))


class Endless(Strided):
    def __iter__(self):
        while True:
            yield 0


def test_right_streams():
    assert check("07.stream", Strided)
    assert check("07.stream", Blocks)


def test_wrong_streams_get_a_fitting_hint():
    assert "more than once" in check("07.stream", Everything).message
    assert "never delivers" in check("07.stream", RestLost).message
    assert "'NoneType' object has no attribute" in check("07.stream", NeedsWorkers).message
    assert "nothing to do" in check("07.stream", FirstOnly).message
    assert "without workers" in check("07.stream", Endless).message
    assert "derives from IterableDataset" in check("07.stream", lambda n: range(n)).message
    assert get_worker_info() is None
