"""Collating: PyTorch's results, padding, and errors that name the samples."""

from __future__ import annotations

import dataclasses
import pickle
from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest

import accelgrad
from accelgrad.core.tensor import Tensor
from accelgrad.utils.data import DataLoader, collate, default_collate, default_convert, pad_collate
from accelgrad.utils.data.collation import default_collate_fn_map

Pair = namedtuple("Pair", "a b")


@dataclasses.dataclass
class Item:
    x: object
    label: int = 0

    def __post_init__(self):
        if isinstance(self.x, Tensor):
            raise AssertionError("made for one sample, not for a batch")


@pytest.mark.parametrize(
    "samples, dtype, shape",
    [
        ([1.5, 2], "float64", (2,)),
        ([1, 2], "int64", (2,)),
        ([1, 2.5], "float32", (2,)),
        ([True, False], "bool", (2,)),
        ([np.float32(1), np.float32(2)], "float32", (2,)),
        ([np.zeros(3, np.uint8)] * 2, "uint8", (2, 3)),
        ([np.zeros((0, 2))] * 3, "float64", (3, 0, 2)),
        ([np.array(1, np.int16)] * 2, "int16", (2,)),
        ([np.zeros(2, ">f4")] * 2, "float32", (2, 2)),
        ([np.zeros(2, np.float32), np.zeros(2)], "float64", (2, 2)),
    ],
)
def test_numbers_and_arrays_become_tensors(samples, dtype, shape):
    batch = default_collate(samples)
    assert isinstance(batch, Tensor) and batch.array.dtype == dtype and batch.array.shape == shape
    assert batch.array.dtype.isnative
    assert batch.array.tolist() == [np.asarray(sample).tolist() for sample in samples]


def test_containers_keep_their_type_as_in_pytorch():
    batch = default_collate([{"a": (1, "x"), "b": Pair(1.0, b"y"), "c": Item(np.zeros(2), 3)}] * 2)
    assert type(batch) is dict and type(batch["a"]) is list and batch["a"][1] == ["x", "x"]
    assert type(batch["b"]) is Pair and batch["b"].b == [b"y", b"y"]
    assert (
        type(batch["c"]) is Item
        and batch["c"].x.array.shape == (2, 2)
        and batch["c"].label.array.tolist() == [3, 3]
    )
    ordered = default_collate([OrderedDict(b=1, a=2)] * 2)
    assert type(ordered) is OrderedDict and list(ordered) == ["b", "a"]
    assert dict(default_collate([defaultdict(int, a=1)] * 2))["a"].array.tolist() == [1, 1]


def test_tensors_are_stacked():
    batch = default_collate([accelgrad.from_numpy(np.full(3, i, np.float32)) for i in range(2)])
    assert batch.array.tolist() == [[0, 0, 0], [1, 1, 1]] and not batch.requires_grad


class Odd:
    def __init__(self, value):
        self.value = value


def sum_odds(samples, *, collate_fn_map):
    return sum(sample.value for sample in samples)


def test_collate_is_extended_by_type_locally_and_for_every_loader():
    assert collate([(Odd(1), 2), (Odd(3), 4)], collate_fn_map={Odd: sum_odds})[0] == 4
    with pytest.raises(TypeError, match="is a Odd"):
        default_collate([Odd(1)])
    default_collate_fn_map[Odd] = sum_odds
    try:
        assert list(DataLoader([Odd(1), Odd(2)], batch_size=2)) == [3]
        assert pad_collate([(Odd(1), [1]), (Odd(5), [1, 2])])[0] == 6
    finally:
        del default_collate_fn_map[Odd]


@pytest.mark.parametrize(
    "samples, error, message",
    [
        ([None, None], TypeError, r"found <class 'NoneType'>: sample 0 of the batch returned None"),
        ([1, None], TypeError, r"sample 1 of the batch returned None"),
        ([np.zeros(2), None], TypeError, r"sample 1 of the batch returned None"),
        ([{"f": 1}, {"f": None}], TypeError, r"sample 1 of the batch\['f'\] is None"),
        ([{"f": 1}, None], TypeError, r"sample 1 of the batch returned None"),
        ([(1, 2), 3], TypeError, r"sample 1 of the batch is a int but sample 0 of the batch is a tuple"),
        (["a", 1], TypeError, r"is a int but .* is a str"),
        ([Item(1), 1], TypeError, r"is a int but .* is a Item"),
        ([{1}, {2}], TypeError, r"batch must contain tensors.*is a set"),
        ([np.array("a")], TypeError, r"array of dtype <U1.*encode it as numbers"),
        ([np.array([None])], TypeError, r"array of dtype object"),
        ([np.zeros(1, np.uint16)], TypeError, r"can't convert np.ndarray of type numpy.uint16"),
        ([{"a": 1}, {"b": 1}], KeyError, r"sample 1 of the batch has no key 'a'"),
        ([(1, 2), (1,)], RuntimeError, r"equal size: .* has 2 elements and .* has 1"),
        ([1, 2**70], RuntimeError, r"Overflow when unpacking long"),
        ([], IndexError, r"no samples"),
    ],
)
def test_what_does_not_fit_is_named(samples, error, message):
    with pytest.raises(error, match=message):
        default_collate(samples)


def test_ragged_samples_are_named_by_their_index_and_field_and_point_to_pad_collate():
    data = [{"text": np.zeros(n), "y": n} for n in (3, 3, 5)]
    with pytest.raises(RuntimeError) as caught:
        list(DataLoader(data, batch_size=3))
    text = str(caught.value)
    assert text.startswith(
        "stack expects each tensor to be equal size, but got [3] at entry 0 and [5] at entry 2"
    )
    assert "dataset[0]['text'] has shape (3,) and dataset[2]['text'] has shape (5,)" in text
    assert "collate_fn=pad_collate" in text


def test_none_is_named_by_its_index():
    with pytest.raises(
        TypeError, match=r"dataset\[17\] returned None; does __getitem__ end without a return\?"
    ):
        list(DataLoader([1] * 17 + [None], batch_size=3))


def test_default_convert_turns_arrays_into_tensors_and_leaves_the_rest():
    given = {
        "a": np.zeros(2),
        "b": [np.float32(1), "s"],
        "c": Pair(np.ones(1), 2),
        "d": np.array("x"),
        "e": Item(np.ones(2)),
    }
    found = default_convert(given)
    assert isinstance(found["a"], Tensor) and isinstance(found["b"][0], Tensor) and found["b"][1] == "s"
    assert type(found["c"]) is Pair and isinstance(found["c"].a, Tensor) and found["c"].b == 2
    assert isinstance(found["d"], np.ndarray) and isinstance(found["e"].x, Tensor)


# --- pad_collate


def test_padding_gives_values_and_lengths():
    values, lengths = pad_collate([np.array([1, 2, 3]), np.array([4])])
    assert values.array.tolist() == [[1, 2, 3], [4, 0, 0]] and lengths.array.tolist() == [3, 1]
    assert lengths.array.dtype == np.int64


def test_padding_is_configured_and_pickles():
    configured = pickle.loads(pickle.dumps(pad_collate(padding_value=-1, batch_first=False, lengths=False)))
    values = configured([np.ones((2, 3), np.float32), np.ones((1, 3), np.float32)])
    assert values.array.shape == (2, 2, 3) and values.array[1, 1].tolist() == [-1] * 3
    assert "padding_value=-1" in repr(configured)


def test_padding_several_dimensions_gives_a_length_for_each():
    images = [np.ones((2, 3)), np.ones((4, 1))]
    values, lengths = pad_collate(dims=(0, 1))(images)
    assert values.array.shape == (2, 4, 3) and lengths.array.tolist() == [[2, 3], [4, 1]]
    assert values.array.sum() == 10


def test_padding_finds_sequences_in_any_structure():
    batch = pad_collate([{"t": [1, 2], "y": 0, "n": "a"}, {"t": [3], "y": 1, "n": "b"}])
    assert batch["t"].values.array.tolist() == [[1, 2], [3, 0]] and batch["y"].array.tolist() == [0, 1]
    assert batch["n"] == ["a", "b"]
    (text, lengths), label = pad_collate([([1], 5), ([1, 2], 6)])
    assert text.array.shape == (2, 2) and lengths.array.tolist() == [1, 2] and label.array.tolist() == [5, 6]
    pair = pad_collate([Pair(np.zeros(1), [1.5]), Pair(np.zeros(2), [])])
    assert (
        type(pair) is Pair
        and pair.b.values.array.dtype == np.float32
        and pair.b.lengths.array.tolist() == [1, 0]
    )


def test_padding_may_be_restricted_to_fields_with_values_of_their_own():
    configured = pad_collate(dims={"t": 0, "u": 0}, padding_value={"u": 9})
    batch = configured([{"t": [1], "u": [1], "x": np.zeros(3)}, {"t": [1, 2], "u": [1, 2], "x": np.zeros(3)}])
    assert (
        isinstance(batch["x"], Tensor)
        and batch["t"].values.array[0, 1] == 0
        and batch["u"].values.array[0, 1] == 9
    )


def test_equal_lengths_still_give_the_pair_so_that_batches_have_one_structure():
    assert len(pad_collate([np.zeros(2), np.zeros(2)])) == 2


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: pad_collate([np.zeros((2, 3)), np.zeros((2, 4))]),
            RuntimeError,
            r"pad_collate\(dims=\(0, 1\)\)",
        ),
        (lambda: pad_collate([np.zeros(2), np.zeros((2, 4))]), RuntimeError, "has 1 dimensions and"),
        (lambda: pad_collate(dims=1)([np.zeros(2)]), RuntimeError, "needs at least 2"),
        (lambda: pad_collate(dims=-1), ValueError, "counted from 0"),
        (lambda: pad_collate(dims=1, batch_first=False), ValueError, "only dims=0 can be padded"),
        (lambda: pad_collate(pad=1), TypeError, "unknown options"),
        (lambda: pad_collate([1], lengths=False), TypeError, "configure it first"),
        (lambda: pad_collate([]), IndexError, "no samples"),
    ],
)
def test_padding_refuses_what_it_cannot_pad(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_padding_works_in_workers():
    data = [np.arange(n) for n in range(1, 40)]
    with DataLoader(data, batch_size=4, num_workers=2, collate_fn=pad_collate) as loader:
        for step, (values, lengths) in enumerate(loader):
            for row, length in zip(values.array, lengths.array, strict=True):
                assert row[:length].tolist() == list(range(length)) and not row[length:].any()
            assert values.array.shape[1] == lengths.array.max() == min(4 * step + 4, 39)
