"""Every data set is exported and has a case in the table below, which makes it of small files."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import pickle
import pkgutil
from pathlib import Path

import numpy as np
import pytest

from accelgrad import datasets
from accelgrad.utils.data import DataLoader

from .test_mnist import small_files
from .test_notmnist import png, small_archive

BASES = {"ImageRecords"}
"""Classes to derive from: they hold no data of their own, so they need no case."""


def idx_files(root: Path, name: str) -> None:
    """Put small files of MNIST's format where the data set ``name`` looks for them."""
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    for file, content in small_files().items():
        (raw / file).write_bytes(content)


def mnist(root: Path, monkeypatch: pytest.MonkeyPatch) -> datasets.MNIST:
    idx_files(root, "MNIST")
    return datasets.MNIST(root)


def fashion_mnist(root: Path, monkeypatch: pytest.MonkeyPatch) -> datasets.FashionMNIST:
    idx_files(root, "FashionMNIST")
    return datasets.FashionMNIST(root)


def not_mnist(root: Path, monkeypatch: pytest.MonkeyPatch) -> datasets.NotMNIST:
    content = small_archive()
    (root / "NotMNIST").mkdir()
    (root / "NotMNIST" / "notMNIST_small.tar.gz").write_bytes(content)
    facts = {"size": len(content), "md5": hashlib.md5(content).hexdigest()}
    monkeypatch.setattr(datasets.NotMNIST, "resources", {"small": facts})
    return datasets.NotMNIST(root)


def picture_folders(root: Path) -> None:
    """Two images of class cat and one of class dog."""
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(png(len(name)))


def image_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> datasets.ImageFolder:
    picture_folders(root)
    return datasets.ImageFolder(root, transform=np.asarray)


def dataset_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> datasets.DatasetFolder:
    picture_folders(root)
    return datasets.DatasetFolder(root, loader=file_size, extensions=(".png",))


def file_size(path: str) -> int:
    return Path(path).stat().st_size


# Data set -> how it is made in an empty folder, and how many samples it has then.
CASES = {
    "Digits": (lambda root, monkeypatch: datasets.Digits(), 1442),
    "Glyphs": (lambda root, monkeypatch: datasets.Glyphs(root, count=100), 90),
    "PythonManual": (lambda root, monkeypatch: datasets.PythonManual(), None),
    "NotMNIST": (not_mnist, 108),
    "MNIST": (mnist, 4),
    "FashionMNIST": (fashion_mnist, 4),
    "ImageFolder": (image_folder, 3),
    "DatasetFolder": (dataset_folder, 3),
}


def public() -> dict[str, type]:
    """The public classes of samples (of a length, fetched by index) in the files of accelgrad.datasets."""
    found = {}
    for file in pkgutil.iter_modules(datasets.__path__):
        module = importlib.import_module(f"accelgrad.datasets.{file.name}")
        for name, value in vars(module).items():
            if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_"):
                reads = getattr(value, "__getitem__", None)
                if reads is not None and "index" in inspect.signature(reads).parameters:
                    found[name] = value
    return {name: value for name, value in found.items() if name not in BASES}


def faults() -> list[str]:
    """One sentence for each data set that is not exported, or has no case."""
    unknown = [
        f"{name} is not exported by accelgrad.datasets"
        for name, value in public().items()
        if name not in datasets.__all__ or getattr(datasets, name, None) is not value
    ]
    return unknown + [f"{name} has no case in CASES" for name in public() if name not in CASES]


def test_every_dataset_is_exported_and_has_a_case():
    assert faults() == []


def test_a_forgotten_dataset_is_noticed(monkeypatch):
    class Forgotten(datasets.ImageRecords):
        pass

    Forgotten.__module__ = "accelgrad.datasets.mnist"
    monkeypatch.setattr("accelgrad.datasets.mnist.Forgotten", Forgotten, raising=False)
    assert faults() == ["Forgotten is not exported by accelgrad.datasets", "Forgotten has no case in CASES"]


def test_the_table_names_only_datasets_that_exist():
    assert CASES.keys() == public().keys()


@pytest.mark.parametrize("name", CASES)
def test_a_dataset_gives_pairs_of_a_sample_and_its_class(name, tmp_path, monkeypatch):
    make, length = CASES[name]
    dataset = make(tmp_path, monkeypatch)
    assert type(dataset).__name__ == name and len(dataset) == (length or len(dataset.targets))
    first, label = dataset[0]
    again, same_label = dataset[-len(dataset)]
    assert np.array_equal(first, again) and label == same_label
    assert 0 <= label < len(dataset.classes)
    for index in (len(dataset), -len(dataset) - 1):
        with pytest.raises(IndexError, match="out of range"):
            dataset[index]


@pytest.mark.parametrize("name", CASES)
def test_a_dataset_is_read_by_a_loader_pickled_and_printed(name, tmp_path, monkeypatch):
    dataset = CASES[name][0](tmp_path, monkeypatch)
    batch, labels = next(iter(DataLoader(dataset, batch_size=2)))
    assert len(batch) == 2 and labels.array.tolist() == [dataset[0][1], dataset[1][1]]
    copy = pickle.loads(pickle.dumps(dataset))
    assert repr(copy) == repr(dataset) and repr(dataset).startswith(f"Dataset {name}\n")
