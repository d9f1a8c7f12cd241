"""The base of all image data sets: samples, batches, pickling, splits, damaged files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from accelgrad.datasets.base import (
    ImageRecords,
    group_split,
    open_records,
    random_split_mask,
    stratified_split,
)

RECORD = np.dtype([("image", np.uint8, (2, 3)), ("label", np.uint8)])


def records(n=6):
    made = np.zeros(n, RECORD)
    made["image"] = np.arange(n)[:, None, None]
    made["label"] = np.arange(n) % 3
    return made


@pytest.fixture(params=["file", "memory"])
def dataset(request, tmp_path):
    if request.param == "memory":
        return ImageRecords(records(), np.array([5, 0, 3]))
    np.save(tmp_path / "r.npy", records())
    return ImageRecords(tmp_path / "r.npy", np.array([5, 0, 3]))


def test_a_sample_is_an_image_and_an_int(dataset):
    image, label = dataset[0]
    assert image.tolist() == [[5, 5, 5]] * 2 and image.dtype == np.uint8
    assert label == 2 and type(label) is int


def test_iteration_ends(dataset):
    assert [label for _, label in dataset] == [2, 0, 0]


def test_negative_indices_count_from_the_end(dataset):
    assert dataset[-1][0][0, 0] == 3


@pytest.mark.parametrize("index", [3, -4])
def test_an_index_outside_is_an_error(dataset, index):
    with pytest.raises(IndexError, match=rf"index {index} is out of range for 3 samples"):
        dataset[index]


def test_a_batch_holds_the_same_samples(dataset):
    batch = dataset.__getitems__([2, 0, -1])
    assert [(image.tolist(), label) for image, label in batch] == [
        (dataset[i][0].tolist(), dataset[i][1]) for i in (2, 0, 2)
    ]


def test_a_sample_may_be_written_to_without_touching_the_data(dataset):
    dataset[0][0][:] = 99
    dataset.__getitems__([0])[0][0][:] = 98
    assert dataset[0][0][0, 0] == 5


def test_transforms_are_applied_to_samples_and_batches(dataset):
    dataset.transform, dataset.target_transform = lambda image: int(image.sum()), str
    assert dataset[0] == (30, "2")
    assert dataset.__getitems__([0, 1]) == [(30, "2"), (0, "0")]


def test_data_and_targets_are_those_of_the_split(dataset):
    assert dataset.data[:, 0, 0].tolist() == [5, 0, 3]
    assert dataset.targets.tolist() == [2, 0, 0] and dataset.targets.dtype == np.int64


def test_a_pickled_dataset_reads_the_same(dataset):
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy[1][0].tolist() == dataset[1][0].tolist()


def test_the_file_does_not_travel_with_the_dataset(tmp_path):
    np.save(tmp_path / "big.npy", np.zeros(100_000, RECORD))
    dataset = ImageRecords(tmp_path / "big.npy", np.arange(10))
    dataset[0]
    assert len(pickle.dumps(dataset)) < 1000


def test_the_file_is_memory_mapped(tmp_path):
    np.save(tmp_path / "r.npy", records())
    opened = open_records(tmp_path / "r.npy")
    assert isinstance(opened, np.memmap) and not opened.flags.writeable


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def damage_empty(path):
    path.write_bytes(b"")


def damage_other(path):
    np.save(path, np.arange(4))


def damage_pickle(path):
    np.save(path, np.array([{}], dtype=object))


@pytest.mark.parametrize("damage", [damage_cut, damage_empty, damage_other, damage_pickle])
def test_a_damaged_file_is_named_and_left_as_it_is(tmp_path, damage):
    path = tmp_path / "r.npy"
    np.save(path, records())
    damage(path)
    content = path.read_bytes()
    with pytest.raises(RuntimeError, match=r"r\.npy is damaged: .* left as it is"):
        open_records(path)
    assert path.read_bytes() == content


def test_repr_names_the_split_and_the_transform(dataset):
    dataset.train, dataset.transform = False, "line 1\nline 2"
    text = repr(dataset)
    assert text.startswith("Dataset ImageRecords\n    Number of datapoints: 3\n")
    assert "    Split: Test\n    Transform: 'line 1\\nline 2'" in text


def test_every_nth_sample_of_each_class_is_drawn():
    labels = np.array([0] * 10 + [1] * 5)
    assert np.flatnonzero(stratified_split(labels, 5)).tolist() == [4, 9, 14]


def test_a_random_split_depends_on_its_seed_alone():
    first, again, other = (random_split_mask(50, 0.3, seed) for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any() and first.sum() == 15


def test_a_random_split_is_the_same_on_every_machine():
    # Written down when the split was made: a change would move samples from training to test.
    assert np.flatnonzero(random_split_mask(12, 0.25, seed=0)).tolist() == [0, 8, 9]


@pytest.mark.parametrize("seed", range(5))
def test_a_split_by_group_never_cuts_a_group(seed):
    groups = np.random.default_rng(seed).integers(20, size=300)
    mask = group_split(groups, 0.2, seed)
    assert not set(groups[mask]) & set(groups[~mask])
    assert 0.2 * 300 <= mask.sum() <= 0.2 * 300 + 40
