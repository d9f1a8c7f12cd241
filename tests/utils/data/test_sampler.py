"""Samplers: their indices, how many there are, and wrong arguments."""

from __future__ import annotations

import numpy as np
import pytest

import accelgrad
from accelgrad.utils.data import (
    BatchSampler,
    DistributedSampler,
    LengthBucketBatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)


def seeded(seed=0):
    return accelgrad.Generator().manual_seed(seed)


def test_the_base_class_says_what_to_define():
    with pytest.raises(NotImplementedError, match="must define __iter__"):
        iter(Sampler())


def test_random_sampler_is_a_permutation_that_follows_the_seed():
    one, two = RandomSampler(range(100), generator=seeded()), RandomSampler(range(100), generator=seeded())
    first = list(one)
    assert sorted(first) == list(range(100)) and first != list(range(100))
    assert first == list(two) and first != list(one)


def test_random_sampler_follows_the_default_generator():
    sampler = RandomSampler(range(50))
    accelgrad.manual_seed(3)
    first = list(sampler)
    accelgrad.manual_seed(3)
    assert list(sampler) == first != list(sampler)


def test_random_sampler_gives_as_many_as_asked_for():
    many = list(RandomSampler(range(4), num_samples=10))
    assert len(many) == 10 and sorted(many[:4]) == sorted(many[4:8]) == [0, 1, 2, 3]
    few = list(RandomSampler(range(100), num_samples=7))
    assert len(set(few)) == 7
    with_replacement = list(RandomSampler(range(3), replacement=True, num_samples=200))
    assert len(with_replacement) == 200 and set(with_replacement) == {0, 1, 2}


def test_a_long_permutation_comes_in_chunks_and_complete():
    assert sorted(RandomSampler(range(70_000))) == list(range(70_000))


def test_random_sampler_refuses_nonsense():
    with pytest.raises(ValueError, match="num_samples should be a positive integer"):
        RandomSampler(range(3), num_samples=0)
    with pytest.raises(TypeError, match="replacement should be a boolean"):
        RandomSampler(range(3), replacement=1)
    with pytest.raises(ValueError, match="empty dataset"):
        list(RandomSampler([], num_samples=2))


def test_subset_random_sampler_gives_each_index_once():
    assert sorted(SubsetRandomSampler([5, 9, 7])) == [5, 7, 9] and len(SubsetRandomSampler([5, 9, 7])) == 3


def test_weighted_sampling_follows_the_weights():
    drawn = np.bincount(list(WeightedRandomSampler([1, 0, 3], 8000, generator=seeded())), minlength=3)
    assert drawn[1] == 0 and abs(drawn[2] / drawn[0] - 3) < 0.3


def test_weighted_sampling_without_replacement_gives_each_once_heavy_ones_first():
    sampler = WeightedRandomSampler([1, 1, 1, 100, 0], 4, replacement=False, generator=seeded())
    draws = [list(sampler) for _ in range(50)]
    assert all(sorted(draw) == [0, 1, 2, 3] for draw in draws)
    assert sum(draw[0] == 3 for draw in draws) > 40


@pytest.mark.parametrize(
    "weights, number, replacement, message",
    [
        ([[1, 2]], 1, True, "1d sequence"),
        ([-1, 2], 1, True, "not negative"),
        ([0, 0], 1, True, "at least one must be positive"),
        ([1, np.nan], 1, True, "finite"),
        ([1, 0], 2, False, "without replacement from 1 positive"),
        ([1], 0, True, "positive integer"),
    ],
)
def test_weighted_sampling_refuses_nonsense(weights, number, replacement, message):
    with pytest.raises(ValueError, match=message):
        WeightedRandomSampler(weights, number, replacement)


def test_batch_sampler_cuts_and_drops():
    assert list(BatchSampler(SequentialSampler(range(7)), 3, False)) == [[0, 1, 2], [3, 4, 5], [6]]
    dropping = BatchSampler(SequentialSampler(range(7)), 3, True)
    assert list(dropping) == [[0, 1, 2], [3, 4, 5]] and len(dropping) == 2
    assert list(BatchSampler(iter("abc"), 2, False)) == [["a", "b"], ["c"]]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("n", [0, 1, 6, 7])
def test_the_ranges_of_a_sequential_batch_sampler_are_its_batches(n, drop_last):
    sampler = BatchSampler(SequentialSampler(range(n)), 3, drop_last)
    assert [list(part) for part in sampler.ranges()] == list(sampler) and len(list(sampler)) == len(sampler)
    assert BatchSampler(range(n), 3, drop_last).ranges() is None


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("n", [10, 11, 2])
def test_distributed_shares_are_equal_and_cover_the_data(n, drop_last):
    shares = [list(DistributedSampler(range(n), 3, rank, seed=1, drop_last=drop_last)) for rank in range(3)]
    assert len({len(share) for share in shares}) == 1
    together = [index for share in shares for index in share]
    assert len(together) == (n // 3 * 3 if drop_last else -(-n // 3) * 3)
    assert set(together) <= set(range(n)) and (drop_last or set(together) == set(range(n)))


def test_distributed_order_follows_the_epoch():
    sampler = DistributedSampler(range(50), 2, 0)
    first = list(sampler)
    assert first == list(sampler)
    sampler.set_epoch(1)
    assert first != list(sampler)


def test_distributed_reads_the_environment_and_refuses_a_wrong_rank(monkeypatch):
    with pytest.raises(RuntimeError, match="WORLD_SIZE"):
        DistributedSampler(range(4))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert list(DistributedSampler(range(4), shuffle=False)) == [1, 3]
    with pytest.raises(ValueError, match="Invalid rank 2"):
        DistributedSampler(range(4), 2, 2)


def test_buckets_hold_similar_lengths_and_every_sample_once():
    lengths = np.random.default_rng(0).integers(1, 500, 1000)
    sampler = LengthBucketBatchSampler(lengths, 10, generator=seeded())
    batches = list(sampler)
    assert (
        sorted(i for batch in batches for i in batch) == list(range(1000))
        and len(batches) == len(sampler) == 100
    )
    spread = np.mean([np.ptp(lengths[batch]) for batch in batches])
    plain = np.mean([np.ptp(lengths[i : i + 10]) for i in range(0, 1000, 10)])
    assert spread < plain / 5
    assert batches != list(sampler)


def test_buckets_give_the_short_batch_last_or_drop_it():
    lengths = list(range(23))
    keeping = list(LengthBucketBatchSampler(lengths, 5, pool=2))
    assert [len(batch) for batch in keeping] == [5, 5, 5, 5, 3]
    assert [len(b) for b in LengthBucketBatchSampler(lengths, 5, pool=2, drop_last=True)] == [5] * 4


def test_buckets_measure_samples_by_len_or_a_key():
    data = ["aaa", "b", "cc", "dddd"]
    assert list(LengthBucketBatchSampler(data, 2, shuffle=False)) == [[1, 2], [0, 3]]
    by_key = LengthBucketBatchSampler(data, 2, shuffle=False, key=lambda text: -len(text))
    assert list(by_key) == [[3, 0], [2, 1]]
    with pytest.raises(ValueError, match="one integer for each sample"):
        LengthBucketBatchSampler(np.zeros((2, 2)), 2, key=lambda row: row)
