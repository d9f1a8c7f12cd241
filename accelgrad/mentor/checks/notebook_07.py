"""The exercises of notebook 07, Dataset and DataLoader."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor
from accelgrad.mentor.checks import exercise, require, same, trials
from accelgrad.utils.data import IterableDataset, WorkerInfo
from accelgrad.utils.data.info import get_worker_info, set_worker_info


@exercise("07.batches", "a function that says how many batches a loader gives")
def batches(answer: Any) -> None:
    """A function of n, batch_size and drop_last; verified by counting, also beyond what a float can hold."""
    require(callable(answer), "number_of_batches is a function of n, batch_size and drop_last")
    cases = [(0, 4), (1, 4), (8, 4), (9, 4), (11, 4), (3, 1)]
    for rng in trials(4):
        cases.append((int(rng.integers(0, 200)), int(rng.integers(1, 17))))
    for n, size in cases:
        for drop in (False, True):
            groups = [len(range(at, min(at + size, n))) for at in range(0, n, size)]
            wanted = sum(length == size for length in groups) if drop else len(groups)
            same(answer(n, size, drop), wanted, f"the number for n={n}, batch_size={size}, drop_last={drop}")
    big = 3 * 10**16 + 1
    got = answer(big, 3, False)
    require(
        isinstance(got, int) and got == 10**16 + 1,
        f"for n={big} and batches of 3 it says {got}: a float cannot count that far; whole numbers can",
    )


@exercise("07.balance", "a function that gives each sample a weight, so that classes are drawn equally often")
def balance(answer: Any) -> None:
    """A function of labels; verified by each class's share of the sum, not by the scale of the weights."""
    require(callable(answer), "balance is a function of the labels")
    tables = [np.array([0, 0, 0, 1]), np.array([2, 5, 5, 5, 2, 2, 2, 2, 9])]
    for rng in trials(4):
        labels = rng.choice(6, size=int(rng.integers(8, 40)), p=[0.5, 0.2, 0.1, 0.1, 0.1, 0.0])
        tables.append(labels)
    for labels in tables:
        held = labels.copy()
        got = answer(labels)
        require(np.array_equal(labels, held), "the labels were changed by the call")
        values = np.asarray(got.xp.to_host(got.array) if isinstance(got, Tensor) else got)
        require(values.ndim > 0, f"balance returned {values}: one weight for each sample is asked for")
        require(
            values.shape == labels.shape,
            f"{len(labels)} labels gave weights of shape {values.shape}: one for each *sample* is asked for",
        )
        require(
            values.dtype.kind in "iuf" and np.all(np.isfinite(values)) and np.all(values > 0),
            f"every sample needs a positive, finite weight; the labels were {labels.tolist()}",
        )
        kinds = np.unique(labels)
        shares = np.array([values[labels == kind].sum() for kind in kinds]) / values.sum()
        places = {int(kind): round(float(share), 3) for kind, share in zip(kinds, shares, strict=True)}
        require(
            np.allclose(shares, 1 / len(kinds), rtol=1e-4),
            f"the classes would be drawn with shares {places}",
        )
        for kind in kinds:
            require(
                np.ptp(values[labels == kind]) <= 1e-5 * values[labels == kind].max(),
                f"samples of one class, {kind}, have different weights",
            )


@exercise("07.stream", "an iterable dataset that divides its stream among the workers")
def stream(answer: Any) -> None:
    """A class; verified as each of several workers would iterate it, and without workers."""
    require(
        isinstance(answer, type) and issubclass(answer, IterableDataset),
        "Shared is a class that derives from IterableDataset",
    )
    for n in (0, 1, 7, 12):
        alone = _numbers(answer(n), None, n)
        require(
            sorted(alone) == list(range(n)),
            f"without workers Shared({n}) delivers {alone[:12]}",
        )
        for workers in (1, 2, 3, 5):
            dataset = answer(n)
            shares = []
            for worker in range(workers):
                shares.append(_numbers(dataset, WorkerInfo(worker, workers, 0, dataset), n))
            together = sorted(value for share in shares for value in share)
            twice = sorted({value for value in together if together.count(value) > 1})
            require(not twice, f"with {workers} workers Shared({n}) delivers {twice[:6]} more than once")
            missing = sorted(set(range(n)) - set(together))
            require(not missing, f"with {workers} workers Shared({n}) never delivers {missing[:6]}")
            require(together == list(range(n)), f"with {workers} workers it delivers {together[:12]}")
            longest = max(map(len, shares))
            require(
                n < workers or longest < n or workers == 1,
                f"with {workers} workers one of them delivers all {n} numbers: the others have nothing to do",
            )


def _numbers(dataset: Any, worker: WorkerInfo | None, n: int) -> list[int]:
    """What ``dataset`` delivers in that worker; a little more than n values at most."""
    before = get_worker_info()
    set_worker_info(worker)
    try:
        found = list(islice(iter(dataset), n + 5))
    finally:
        set_worker_info(before)
    for value in found:
        require(isinstance(value, int | np.integer), f"it delivers a {type(value).__name__}, not an integer")
    return [int(value) for value in found]
