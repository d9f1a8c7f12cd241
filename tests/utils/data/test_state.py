"""Resuming in mid-epoch: the remaining batches are the same to the bit."""

from __future__ import annotations

import pickle
import random
import time

import numpy as np
import pytest

import accelgrad
from accelgrad.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    LengthBucketBatchSampler,
    RandomSampler,
    get_worker_info,
    sample_generator,
)


class Noisy(Dataset):
    """Samples to which every generator adds a number."""

    def __init__(self, n=40, pause=0.0):
        self.n, self.pause = n, pause
        self.own = np.random.default_rng(1)

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        time.sleep(self.pause)
        found = [index, random.random(), np.random.rand(), self.own.random()]  # noqa: NPY002
        return np.array(
            [*found, accelgrad.default_generator.numpy.random(), sample_generator().numpy.random()]
        )


class NoisyStream(IterableDataset):
    def __iter__(self):
        info = get_worker_info()
        for i in range(7 if info is None else (7, 4)[info.id]):
            yield np.array([i, random.random(), np.random.rand()])  # noqa: NPY002


def rows(batches):
    return [batch.array.tolist() for batch in batches]


def interrupted(make, after):
    """Return the rest of a pass and the next pass, first without a restart, then after one."""
    accelgrad.manual_seed(11)
    random.seed(11)
    np.random.seed(11)  # noqa: NPY002
    with make() as loader:
        iterator = iter(loader)
        for _ in range(after):
            next(iterator)
        state = pickle.dumps(loader.state_dict())
        expected = rows(iterator)
        expected_next = [row[0] for batch in loader for row in batch.array.tolist()]
    accelgrad.manual_seed(99)
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002
    with make() as loader:
        loader.load_state_dict(pickle.loads(state))
        found = rows(loader)
        found_next = [row[0] for batch in loader for row in batch.array.tolist()]
    return expected, found, expected_next, found_next


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("after", [0, 1, 5, 10])
def test_the_remaining_batches_are_bit_equal(workers, after):
    expected, found, _, _ = interrupted(
        lambda: DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=workers), after
    )
    assert len(expected) == 10 - after
    assert found == expected or after == 10


def test_a_finished_pass_resumes_at_the_next_one():
    with DataLoader([1, 2], num_workers=1) as loader:
        list(loader)
        state = loader.state_dict()
        assert state["finished"]
    with DataLoader([1, 2], num_workers=1) as loader:
        loader.load_state_dict(state)
        assert [b.array.tolist() for b in loader] == [[1], [2]]


def test_workers_that_photograph_their_generators_resume_from_the_photograph():
    expected, found, _, _ = interrupted(lambda: DataLoader(Noisy(24, 0.02), num_workers=2), 16)
    assert found == expected and len(found) == 8


def test_state_can_be_taken_again_right_after_resuming():
    make = lambda: DataLoader(Noisy(12, 0.02), num_workers=2)  # noqa: E731
    accelgrad.manual_seed(0)
    with make() as loader:
        iterator = iter(loader)
        for _ in range(8):
            next(iterator)
        first = loader.state_dict()
        expected = rows(iterator)
    with make() as loader:
        loader.load_state_dict(first)
        iterator = iter(loader)
        again = [next(iterator).array.tolist()]
        second = loader.state_dict()
    with make() as loader:
        loader.load_state_dict(second)
        assert again + rows(loader) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_a_samplers_own_generator_goes_on_as_if_nothing_had_happened(workers):
    def make():
        data = Noisy()
        generator = accelgrad.Generator().manual_seed(4)
        return DataLoader(data, 4, sampler=RandomSampler(data, generator=generator), num_workers=workers)

    expected, found, expected_next, found_next = interrupted(make, 3)
    assert found == expected and found_next == expected_next


def test_a_bucket_sampler_and_an_own_sampler_resume():
    class Own:
        def __iter__(self):
            while True:
                yield random.randrange(40)

        def __len__(self):
            return 12

    lengths = np.random.default_rng(0).integers(1, 50, 40)
    make = lambda: DataLoader(Noisy(), batch_sampler=LengthBucketBatchSampler(lengths, 4), num_workers=2)  # noqa: E731
    expected, found, _, _ = interrupted(make, 4)
    assert found == expected
    random.seed(1)
    loader = DataLoader(list(range(40)), sampler=Own())
    iterator = iter(loader)
    next(iterator)
    state, expected = loader.state_dict(), rows([next(iterator), next(iterator)])
    random.seed(2)
    other = DataLoader(list(range(40)), sampler=Own())
    other.load_state_dict(state)
    iterator = iter(other)
    assert rows([next(iterator), next(iterator)]) == expected


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_stream_resumes_in_every_worker(workers, after):
    make = lambda: DataLoader(NoisyStream(), batch_size=2, num_workers=workers)  # noqa: E731
    expected, found, _, _ = interrupted(make, after)
    if workers == 0:  # the stream draws in this process, and is begun anew: only what it gives is the same
        expected, found = ([[row[0] for row in batch] for batch in part] for part in (expected, found))
    assert found == expected and len(found) == (4 if workers == 0 else 6) - after


def test_out_of_order_each_remaining_batch_comes_once():
    with DataLoader(Noisy(30), num_workers=2, in_order=False) as loader:
        iterator = iter(loader)
        seen = [next(iterator).array[0, 0] for _ in range(11)]
        state = loader.state_dict()
    with DataLoader(Noisy(30), num_workers=2, in_order=False) as loader:
        loader.load_state_dict(state)
        rest = [batch.array[0, 0] for batch in loader]
    assert sorted(seen + rest) == list(range(30))


def test_resuming_does_not_touch_the_programs_own_generators():
    accelgrad.manual_seed(1)
    with DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=2) as loader:
        iterator = iter(loader)
        next(iterator)
        state = loader.state_dict()
    accelgrad.manual_seed(5)
    expected = accelgrad.default_generator.get_state().tobytes()
    with DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=2) as loader:
        loader.load_state_dict(state)
        next(iter(loader))
        assert accelgrad.default_generator.get_state().tobytes() == expected


def test_a_state_of_another_kind_of_loader_is_refused():
    state = DataLoader([1]).state_dict()
    with pytest.raises(ValueError, match="same kind of dataset"):
        DataLoader(NoisyStream()).load_state_dict(state)
    loader = DataLoader([1, 2])
    iterator = iter(loader)
    next(iterator)
    with pytest.raises(ValueError, match="num_workers=0, this loader has 2"):
        DataLoader([1, 2], num_workers=2).load_state_dict(loader.state_dict())
