"""Folders of images and other files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from accelgrad.datasets import DatasetFolder, ImageFolder

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def root(tmp_path):
    """cat/a.png, cat/deep/b.PNG, dog/c.jpg (grey), and files that do not count."""
    for name, mode, fill in (
        ("dog/c.jpg", "L", 128),
        ("cat/a.png", "RGB", (255, 0, 0)),
        ("cat/deep/b.PNG", "RGBA", (0, 255, 0, 255)),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (4, 3), fill).save(path)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "readme.md").write_text("no class")
    return tmp_path


def test_classes_are_the_sorted_folders(root):
    dataset = ImageFolder(root)
    assert dataset.classes == ["cat", "dog"] and dataset.class_to_idx == {"cat": 0, "dog": 1}
    assert dataset.targets == [0, 0, 1] and dataset.imgs == dataset.samples


def test_samples_are_rgb_images_in_the_order_of_their_paths(root):
    dataset = ImageFolder(root)
    assert [path.removeprefix(str(root)) for path, _ in dataset.samples] == [
        "/cat/a.png",
        "/cat/deep/b.PNG",
        "/dog/c.jpg",
    ]
    for image, _ in dataset:
        assert image.mode == "RGB" and image.size == (4, 3)
    assert dataset[0][0].getpixel((0, 0)) == (255, 0, 0)


def test_transforms_are_applied(root):
    dataset = ImageFolder(root, transform=np.asarray, target_transform=lambda label: -label)
    image, label = dataset[-1]
    assert image.shape == (3, 4, 3) and label == -1


def test_a_predicate_chooses_files(root):
    dataset = ImageFolder(root, is_valid_file=lambda path: path.endswith(("a.png", ".jpg")))
    assert len(dataset) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the file is empty"), (b"not an image", "UnidentifiedImageError"), (None, "cannot be read")],
)
def test_a_file_that_cannot_be_decoded_is_named(root, content, message):
    path = root / "cat" / "a.png"
    path.write_bytes(path.read_bytes()[:50] if content is None else content)
    with pytest.raises(RuntimeError, match=rf"a\.png cannot be read as an image.*{message}|a\.png {message}"):
        ImageFolder(root)[0]


def test_a_folder_without_classes_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="Couldn't find any class folder in"):
        ImageFolder(tmp_path)


def test_a_class_without_files_is_named(root):
    (root / "emu").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"Found no valid file for the classes emu\. Supported .*\.png"
    ):
        ImageFolder(root)
    assert ImageFolder(root, allow_empty=True).classes == ["cat", "dog", "emu"]


def test_an_index_outside_is_an_error(root):
    with pytest.raises(IndexError, match="index 3 is out of range for 3 samples"):
        ImageFolder(root)[3]


def test_any_loader_serves(root):
    dataset = DatasetFolder(
        root, lambda path: len(Path(path).read_text()), extensions=(".txt",), allow_empty=True
    )
    assert [dataset[i] for i in range(len(dataset))] == [(8, 0)]


@pytest.mark.parametrize("options", [{}, {"extensions": (".a",), "is_valid_file": bool}])
def test_exactly_one_way_to_choose_files_is_needed(root, options):
    with pytest.raises(ValueError, match="Both extensions and is_valid_file"):
        DatasetFolder(root, str, **options)


def test_an_image_folder_pickles(root):
    copy = pickle.loads(pickle.dumps(ImageFolder(root)))
    assert copy[2][1] == 1 and copy[2][0].size == (4, 3)


def test_repr_tells_the_number_and_the_place(root):
    assert (
        repr(ImageFolder(root))
        == f"Dataset ImageFolder\n    Number of datapoints: 3\n    Root location: {root}"
    )
