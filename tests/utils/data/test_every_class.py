"""Every dataset and every sampler is exported and has a case in the tables below, which read it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import accelgrad
from accelgrad.utils import data
from accelgrad.utils.data import DataLoader

BASES = {"Dataset", "IterableDataset", "Sampler"}
"""Classes to derive from: they give nothing, so they need no case."""


class Letters(data.IterableDataset):
    def __init__(self, letters):
        self.letters = letters

    def __iter__(self):
        return iter(self.letters)


# Dataset -> a made one, and its samples in their order.
DATASETS = {
    "TensorDataset": (
        data.TensorDataset(np.arange(3), accelgrad.tensor([4, 5, 6])),
        [(0, 4), (1, 5), (2, 6)],
    ),
    "StackDataset": (data.StackDataset([1, 2], ["a", "b"]), [(1, "a"), (2, "b")]),
    "ConcatDataset": (data.ConcatDataset(["ab", "c"]), ["a", "b", "c"]),
    "ChainDataset": (data.ChainDataset([Letters("ab"), Letters("c")]), ["a", "b", "c"]),
    "Subset": (data.Subset("abcd", [3, 0]), ["d", "a"]),
}

# Sampler -> a made one, and what it gives, sorted where it draws.
SAMPLERS = {
    "SequentialSampler": (data.SequentialSampler("abc"), [0, 1, 2]),
    "RandomSampler": (data.RandomSampler("abcde"), [0, 1, 2, 3, 4]),
    "SubsetRandomSampler": (data.SubsetRandomSampler([7, 3, 5]), [3, 5, 7]),
    "WeightedRandomSampler": (data.WeightedRandomSampler([1, 0, 1], 2, replacement=False), [0, 2]),
    "BatchSampler": (data.BatchSampler(range(5), 2, drop_last=False), [[0, 1], [2, 3], [4]]),
    "DistributedSampler": (data.DistributedSampler("abcd", num_replicas=1, rank=0), [0, 1, 2, 3]),
    "LengthBucketBatchSampler": (
        data.LengthBucketBatchSampler([3, 1, 4, 1], batch_size=2),
        [[0, 2], [1, 3]],
    ),
}


def public(base: type) -> dict[str, type]:
    """The public subclasses of ``base`` in the files of accelgrad.utils.data, by their names."""
    found = {}
    for file in pkgutil.iter_modules(data.__path__):
        module = importlib.import_module(f"accelgrad.utils.data.{file.name}")
        for name, value in vars(module).items():
            own = inspect.isclass(value) and value.__module__ == module.__name__
            if own and issubclass(value, base) and not name.startswith("_") and name not in BASES:
                found[name] = value
    return found


def faults() -> list[str]:
    """One sentence for each dataset or sampler that is not exported, or has no case."""
    found = []
    for base, cases in ((data.Dataset, DATASETS), (data.Sampler, SAMPLERS)):
        for name, value in public(base).items():
            if name not in data.__all__ or getattr(data, name, None) is not value:
                found.append(f"{name} is not exported by accelgrad.utils.data")
            if name not in cases:
                found.append(f"{name} has no case")
    return found


def test_every_dataset_and_sampler_is_exported_and_has_a_case():
    assert faults() == []


@pytest.mark.parametrize("base", [data.Dataset, data.Sampler])
def test_a_forgotten_class_is_noticed(base, monkeypatch):
    class Forgotten(base):
        pass

    Forgotten.__module__ = "accelgrad.utils.data.dataset"
    monkeypatch.setattr("accelgrad.utils.data.dataset.Forgotten", Forgotten, raising=False)
    assert faults() == ["Forgotten is not exported by accelgrad.utils.data", "Forgotten has no case"]


def test_the_tables_name_only_classes_that_exist():
    assert DATASETS.keys() == public(data.Dataset).keys()
    assert SAMPLERS.keys() == public(data.Sampler).keys()


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_gives_its_samples_alone_and_through_a_loader(name):
    dataset, expected = DATASETS[name]
    assert type(dataset).__name__ == name
    streams = isinstance(dataset, data.IterableDataset)
    samples = list(dataset) if streams else [dataset[index] for index in range(len(dataset))]
    assert samples == expected
    assert list(DataLoader(dataset, batch_size=None)) == expected


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_gives_each_index_and_says_how_many(name):
    sampler, expected = SAMPLERS[name]
    assert type(sampler).__name__ == name
    drawn = list(sampler)
    assert sorted(sorted(part) if isinstance(part, list) else part for part in drawn) == expected
    assert len(sampler) == len(drawn)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_follows_the_seed(name):
    sampler, _ = SAMPLERS[name]
    accelgrad.manual_seed(5)
    first = [list(sampler) for _ in range(3)]
    accelgrad.manual_seed(5)
    assert [list(sampler) for _ in range(3)] == first
