"""Datasets: combining, cutting, splitting."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import accelgrad
from accelgrad.utils.data import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    default_collate,
    random_split,
)


class Stream(IterableDataset):
    def __init__(self, *items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


def test_a_dataset_without_getitem_says_what_to_define():
    with pytest.raises(NotImplementedError, match="must define __getitem__"):
        Dataset()[0]
    with pytest.raises(NotImplementedError, match="must define __iter__"):
        iter(IterableDataset())


def test_plus_concatenates_and_chains():
    both = TensorDataset(np.zeros(2)) + TensorDataset(np.ones(3))
    assert isinstance(both, ConcatDataset) and len(both) == 5 and both[4] == (1.0,)
    assert list(Stream(1) + Stream(2, 3)) == [1, 2, 3]


def test_concat_finds_samples_from_both_ends_and_refuses_others():
    data = ConcatDataset([[0, 1], [], [2]])
    assert [data[i] for i in range(-3, 3)] == [0, 1, 2, 0, 1, 2]
    for index in (3, -4):
        with pytest.raises(IndexError, match="out of range"):
            data[index]
    with pytest.raises(ValueError, match="empty iterable"):
        ConcatDataset([])
    with pytest.raises(TypeError, match="ChainDataset"):
        ConcatDataset([Stream(1)])


def test_chain_has_the_sum_of_the_lengths():
    assert len(ChainDataset([[1, 2], [3]])) == 3


def test_tensor_dataset_needs_equal_lengths():
    with pytest.raises(AssertionError, match=r"\[2, 3\]"):
        TensorDataset(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="at least one"):
        TensorDataset()


@pytest.mark.parametrize("indices", [[2, 3, 4], [4, 0, -1], [1], range(1, 3)])
@pytest.mark.parametrize("kind", ["contiguous", "strided", "tensor", "big-endian"])
def test_a_whole_batch_of_a_tensor_dataset_equals_its_collated_samples(indices, kind):
    x = np.arange(24, dtype=np.float32).reshape(6, 4)
    x = {
        "contiguous": x,
        "strided": x[:, ::2],
        "tensor": accelgrad.from_numpy(x),
        "big-endian": x.astype(">f4"),
    }[kind]
    data = TensorDataset(x, np.arange(6))
    whole = data.__getbatch__(indices)
    single = default_collate([data[i] for i in indices])
    for a, b in zip(whole, single, strict=True):
        assert a.dtype == b.dtype and a.array.tolist() == b.array.tolist()


def test_an_index_beyond_a_tensor_dataset_is_an_index_error():
    data = TensorDataset(np.zeros(3))
    for indices in ([0, 3], [2, 3], [-4], range(2, 5)):
        with pytest.raises(IndexError):
            data.__getbatch__(indices)


def test_stack_gives_tuples_or_dicts_and_asks_for_many_at_once():
    class Many(list):
        asked = 0

        def __getitems__(self, indices):
            Many.asked += 1
            return [self[i] for i in indices]

    assert StackDataset([1, 2], "ab")[1] == (2, "b")
    data = StackDataset(x=Many([1, 2, 3]), y="abc")
    assert data.__getitems__([2, 0]) == [{"x": 3, "y": "c"}, {"x": 1, "y": "a"}]
    assert Many.asked == 1 and len(data) == 3
    with pytest.raises(ValueError, match="Size mismatch"):
        StackDataset([1], [1, 2])
    with pytest.raises(ValueError, match="either positional"):
        StackDataset()


def test_stack_refuses_an_answer_of_the_wrong_length():
    class Short(list):
        def __getitems__(self, indices):
            return []

    with pytest.raises(ValueError, match="returned 0 samples for 2 indices"):
        StackDataset(Short([1, 2])).__getitems__([0, 1])


def test_a_subset_indexes_through_lists_and_whole_batches():
    base = TensorDataset(np.arange(10))
    part = Subset(base, [7, 3, 5])
    assert [row[0] for row in part] == [7, 3, 5] if hasattr(part, "__iter__") else part[1][0] == 3
    assert part.__getbatch__([2, 0])[0].array.tolist() == [5, 7]
    assert Subset("abc", [2, 1]).__getitems__([0, 1]) == ["c", "b"]
    assert Subset([1], [0]).__getbatch__([0]) is NotImplemented


def test_random_split_by_lengths_and_fractions_covers_everything_once():
    data = list(range(17))
    for lengths, sizes in (([10, 7], [10, 7]), ([0.5, 0.25, 0.25], [9, 4, 4]), ([1.0], [17])):
        parts = random_split(data, lengths)
        assert [len(part) for part in parts] == sizes
        assert sorted(x for part in parts for x in (part[i] for i in range(len(part)))) == data


def test_random_split_repeats_with_a_seeded_generator():
    split = lambda: random_split(range(20), [5, 15], accelgrad.Generator().manual_seed(3))  # noqa: E731
    assert split()[0].indices == split()[0].indices


def test_random_split_refuses_lengths_that_do_not_fit():
    with pytest.raises(ValueError, match="Sum of input lengths"):
        random_split(range(5), [2, 2])
    with pytest.raises(ValueError, match="between 0 and 1"):
        random_split(range(5), [1.5, -0.5])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="index 1 is 0"):
            random_split(range(2), [0.9, 0.1])
