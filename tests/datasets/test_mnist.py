"""MNIST and FashionMNIST from small files of the same format."""

from __future__ import annotations

import gzip
import hashlib

import numpy as np
import pytest

from accelgrad.datasets import MNIST, DownloadError, FashionMNIST

from .test_idx import idx

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def small_files():
    """Four images for training and two for testing; image i is filled with i, its label is i mod 3."""
    files = {}
    for prefix, n in (("train", 4), ("t10k", 2)):
        numbers = np.arange(n)
        files[f"{prefix}-images-idx3-ubyte"] = idx(np.broadcast_to(numbers[:, None, None], (n, 28, 28)))
        files[f"{prefix}-labels-idx1-ubyte"] = idx(numbers % 3)
    return files


@pytest.fixture
def published(server, monkeypatch):
    """The small files on the local server, in place of the real ones."""
    resources = {}
    for name, content in small_files().items():
        packed = gzip.compress(content, mtime=0)
        server.put(f"mnist/{name}.gz", packed)
        resources[name] = (len(packed), hashlib.md5(packed).hexdigest())
    monkeypatch.setattr(MNIST, "mirrors", (server.url + "mnist/",))
    monkeypatch.setattr(MNIST, "resources", resources)
    return server


def test_the_training_part_is_fetched_and_read(published, tmp_path):
    dataset = MNIST(tmp_path, download=True)
    assert len(dataset) == 4
    image, label = dataset[2]
    assert image.tolist() == [[2] * 28] * 28 and label == 2
    assert [path for path, *_ in published.requests] == [f"/mnist/{name}.gz" for name in NAMES[:2]]


def test_the_test_part_is_another(published, tmp_path):
    dataset = MNIST(tmp_path, train=False, download=True)
    assert dataset.targets.tolist() == [0, 1] and "Split: Test" in repr(dataset)


def test_the_second_time_the_array_file_is_enough(published, tmp_path):
    MNIST(tmp_path, download=True)
    for path in (tmp_path / "MNIST" / "raw").iterdir():
        path.unlink()
    again = MNIST(tmp_path)
    assert len(again) == 4 and isinstance(again.records, np.memmap)
    assert len(published.requests) == 2


def test_files_that_pytorch_unpacked_are_found(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in small_files().items():
        (raw / name).write_bytes(content)
    dataset = FashionMNIST(tmp_path)
    assert len(dataset) == 4 and dataset.classes[dataset[1][1]] == "Trouser"


def test_without_download_the_missing_file_and_its_folder_are_named(tmp_path):
    with pytest.raises(
        RuntimeError, match=r"Dataset not found\. You can use download=True .*train-images.*raw"
    ):
        MNIST(tmp_path)


def test_a_file_put_there_by_hand_is_checked(published, tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(b"not it")
    with pytest.raises(RuntimeError, match=r"train-images-idx3-ubyte\.gz is damaged or another file"):
        MNIST(tmp_path)
    assert (raw / "train-images-idx3-ubyte.gz").read_bytes() == b"not it"


def test_images_and_labels_of_different_numbers_are_named(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in small_files().items():
        (raw / name).write_bytes(content)
    (raw / NAMES[1]).write_bytes(idx(np.arange(3)))
    with pytest.raises(RuntimeError, match=r"shape \(4, 28, 28\).*shape \(3,\).*do not belong together"):
        MNIST(tmp_path)
    assert not (tmp_path / "MNIST" / "train.npy").exists()


def test_a_mirror_that_is_down_is_reported(published, tmp_path):
    published.pages.clear()
    with pytest.raises(DownloadError, match="answered 404"):
        MNIST(tmp_path, download=True)


def test_the_real_files_are_described(tmp_path):
    for dataset in (MNIST, FashionMNIST):
        assert tuple(dataset.resources) == NAMES and len(dataset.classes) == 10
        assert all(len(md5) == 32 and size > 4000 for size, md5 in dataset.resources.values())


def test_a_folder_that_cannot_be_written_is_read_all_the_same(tmp_path, monkeypatch):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in small_files().items():
        (raw / name).write_bytes(content)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert MNIST(tmp_path).targets.tolist() == [0, 1, 2, 0]
    assert [path.name for path in (tmp_path / "MNIST").iterdir()] == ["raw"]
