"""The digits that come with the package."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import accelgrad.datasets
from accelgrad.datasets import Digits


def test_the_parts_hold_every_image_once():
    assert (len(Digits()), len(Digits(train=False))) == (1442, 355)


def test_both_parts_hold_every_class_in_like_numbers():
    for train in (True, False):
        counts = np.bincount(Digits(train=train).targets, minlength=10)
        assert counts.min() >= 0.9 * counts.mean()


def test_no_image_is_in_both_parts():
    rows = [set(Digits(train=train)._rows.tolist()) for train in (True, False)]
    assert not rows[0] & rows[1] and rows[0] | rows[1] == set(range(1797))


def test_images_are_bytes_from_black_to_white():
    data = Digits().data
    assert data.shape == (1442, 8, 8) and data.dtype == np.uint8
    assert (data.min(), data.max()) == (0, 255)
    assert len(np.unique(data)) == 17  # the levels of the source


def test_the_images_are_those_of_the_source():
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    source = sklearn_datasets.load_digits()
    records = Digits().records
    assert (np.rint(records["image"] * (16 / 255)) == source.images).all()
    assert (records["label"] == source.target).all()


def test_the_first_image_is_a_zero_with_a_hole():
    image, label = Digits()[0]
    assert label == 0 and image[3:5, 3:5].max() == 0 and image[:, 2].max() > 200


def test_a_dataset_pickles_with_its_transform():
    copy = pickle.loads(pickle.dumps(Digits(transform=np.negative)))
    assert (copy[0][0] == np.negative(Digits()[0][0])).all()


def test_a_damaged_file_is_named_and_left_as_it_is(tmp_path):
    path = tmp_path / "digits.npz"
    shutil.copy(Path(accelgrad.datasets.__file__).parent / "digits.npz", path)
    assert len(Digits(tmp_path)) == 1442
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(RuntimeError, match=r"digits\.npz is damaged"):
        Digits(tmp_path)
    assert path.read_bytes() == content


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"digits\.npz"):
        Digits(tmp_path)


def test_the_attribution_is_beside_the_data():
    text = (Path(accelgrad.datasets.__file__).parent / "digits.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in text and "Alpaydin" in text


def test_importing_the_datasets_loads_no_optional_library():
    program = (
        "import sys, accelgrad.datasets, accelgrad.transforms\n"
        "accelgrad.datasets.Digits()[0]\n"
        "print([name for name in ('matplotlib', 'PIL', 'tqdm', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
