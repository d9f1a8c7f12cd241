"""Letters drawn from matplotlib's fonts."""

from __future__ import annotations

import os

import numpy as np
import pytest

from accelgrad.datasets import Glyphs
from accelgrad.datasets.glyphs import draw, font_files

COUNT = 460  # each letter in each of the 23 fonts of matplotlib twice


def test_the_images_have_notmnists_shape_and_classes(tmp_path):
    dataset = Glyphs(tmp_path, count=COUNT)
    image, label = dataset[0]
    assert image.shape == (28, 28) and image.dtype == np.uint8 and type(label) is int
    assert dataset.classes == tuple("ABCDEFGHIJ") and set(dataset.targets) == set(range(10))


def test_every_image_shows_something_that_fits():
    images = draw(COUNT, seed=3)["image"]
    assert (images.max(axis=(1, 2)) > 200).all()
    border = np.concatenate(
        [images[:, [0, -1]].reshape(COUNT, -1), images[:, :, [0, -1]].reshape(COUNT, -1)], 1
    )
    assert border.astype(float).mean() < 5  # hardly any ink on the outermost pixels


def test_the_seed_decides_the_images():
    first, again, other = draw(30, 1), draw(30, 1), draw(30, 2)
    assert (first == again).all()
    assert (first["image"] != other["image"]).any(axis=(1, 2)).all()


def test_a_letter_looks_different_each_time():
    per_round = 10 * len(font_files())
    images = draw(per_round + 1, 0)["image"]
    assert (images[0] != images[per_round]).mean() > 0.1  # the same letter in the same font


def test_the_letters_can_be_told_apart():
    train, test = draw(2000, 0), draw(400, 9)
    weights = train["image"].reshape(2000, -1).astype(np.float32)
    centred = weights - weights.mean(axis=1, keepdims=True)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    probe = test["image"].reshape(400, -1).astype(np.float32)
    nearest = np.argmax((probe - probe.mean(axis=1, keepdims=True)) @ centred.T, axis=1)
    assert (train["label"][nearest] == test["label"]).mean() > 0.9


def test_the_parts_hold_every_image_once(tmp_path):
    parts = [Glyphs(tmp_path, train=train, count=COUNT) for train in (True, False)]
    assert [len(part) for part in parts] == [414, 46]
    assert not set(parts[0]._rows.tolist()) & set(parts[1]._rows.tolist())


def test_a_split_by_font_shows_unseen_fonts(tmp_path):
    train, test = (Glyphs(tmp_path, train=train, count=COUNT, split="font") for train in (True, False))
    assert len(train) + len(test) == COUNT and len(test) >= 46
    assert not set(train.fonts) & set(test.fonts)


def test_the_images_are_drawn_once(tmp_path, monkeypatch):
    first = Glyphs(tmp_path, count=100)
    monkeypatch.setattr("accelgrad.datasets.glyphs.draw", None)
    again = Glyphs(tmp_path, count=100)
    assert isinstance(again.records, np.memmap) and (again.data == first.data).all()
    assert len([name for name in os.listdir(tmp_path / "Glyphs") if name.endswith(".npy")]) == 1


def test_where_nothing_can_be_written_the_images_stay_in_memory(tmp_path):
    (tmp_path / "Glyphs").write_text("a file where the folder should be")
    dataset = Glyphs(tmp_path, count=100)
    assert len(dataset) == 90 and dataset[0][0].max() > 200


def test_a_damaged_cache_is_named_and_left_as_it_is(tmp_path):
    Glyphs(tmp_path, count=100)
    (path,) = (tmp_path / "Glyphs").glob("*.npy")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RuntimeError, match=r"seed0.*\.npy is damaged"):
        Glyphs(tmp_path, count=100)


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match="split must be 'random' or 'font', got 'fonts'"):
        Glyphs(tmp_path, split="fonts")


def test_fewer_images_than_letters_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 10"):
        Glyphs(tmp_path, count=9)
