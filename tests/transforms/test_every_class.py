"""Every transform is exported and has a case in the table below, which builds it and runs it on an image."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil

import numpy as np
import pytest

import accelgrad
from accelgrad import transforms
from accelgrad.transforms import functional as F

from .helpers import back, pixels, smooth, tensor

IMAGE = smooth(12, 16)  # (12, 16, 3)
FLOATS = F.to_tensor(IMAGE)  # (3, 12, 16)

# Transform -> a made one, the image that it takes, and [channels, height, width] of what it makes of that.
CASES = {
    "Compose": (transforms.Compose([transforms.CenterCrop(5), transforms.Grayscale()]), IMAGE, [1, 5, 5]),
    "Lambda": (transforms.Lambda(F.hflip), IMAGE, [3, 12, 16]),
    "RandomApply": (transforms.RandomApply([transforms.Pad(1)], p=1), IMAGE, [3, 14, 18]),
    "RandomChoice": (
        transforms.RandomChoice([transforms.Pad(1), transforms.Pad((1, 1))]),
        IMAGE,
        [3, 14, 18],
    ),
    "RandomOrder": (transforms.RandomOrder([transforms.Pad(1), transforms.Pad(2)]), IMAGE, [3, 18, 22]),
    "ToTensor": (transforms.ToTensor(), IMAGE, [3, 12, 16]),
    "PILToTensor": (transforms.PILToTensor(), F.to_pil_image(IMAGE), [3, 12, 16]),
    "ToPILImage": (transforms.ToPILImage(), IMAGE, [3, 12, 16]),
    "ConvertImageDtype": (transforms.ConvertImageDtype(accelgrad.float64), FLOATS, [3, 12, 16]),
    "Normalize": (transforms.Normalize([0.5] * 3, [0.5] * 3), FLOATS, [3, 12, 16]),
    "Resize": (transforms.Resize(6), IMAGE, [3, 6, 8]),
    "CenterCrop": (transforms.CenterCrop((5, 7)), IMAGE, [3, 5, 7]),
    "Pad": (transforms.Pad((1, 2)), IMAGE, [3, 16, 18]),
    "Grayscale": (transforms.Grayscale(), IMAGE, [1, 12, 16]),
    "RandomCrop": (transforms.RandomCrop(8, padding=2), IMAGE, [3, 8, 8]),
    "RandomResizedCrop": (transforms.RandomResizedCrop((5, 6)), IMAGE, [3, 5, 6]),
    "RandomHorizontalFlip": (transforms.RandomHorizontalFlip(), IMAGE, [3, 12, 16]),
    "RandomVerticalFlip": (transforms.RandomVerticalFlip(), IMAGE, [3, 12, 16]),
    "RandomRotation": (transforms.RandomRotation(90), IMAGE, [3, 12, 16]),
    "RandomAffine": (transforms.RandomAffine(20, (0.1, 0.2), (0.8, 1.2), 10), IMAGE, [3, 12, 16]),
    "RandomGrayscale": (transforms.RandomGrayscale(0.5), IMAGE, [3, 12, 16]),
    "ColorJitter": (transforms.ColorJitter(0.4, 0.4, 0.4, 0.1), IMAGE, [3, 12, 16]),
    "RandomErasing": (transforms.RandomErasing(value="random"), FLOATS, [3, 12, 16]),
    "GaussianBlur": (transforms.GaussianBlur(3), IMAGE, [3, 12, 16]),
}

# These draw nothing themselves: the seed does not matter to what they make.
FIXED = {
    "Compose", "Lambda", "ToTensor", "PILToTensor", "ToPILImage", "ConvertImageDtype", "Normalize", "Resize",
    "CenterCrop", "Pad", "Grayscale",
}  # fmt: skip


def public() -> dict[str, type]:
    """The public subclasses of Transform in the files of accelgrad.transforms, by their names."""
    found = {}
    for file in pkgutil.iter_modules(transforms.__path__):
        module = importlib.import_module(f"accelgrad.transforms.{file.name}")
        for name, value in vars(module).items():
            own = inspect.isclass(value) and value.__module__ == module.__name__
            if own and issubclass(value, transforms.Transform) and not name.startswith("_"):
                found[name] = value
    del found["Transform"]
    return found


def faults() -> list[str]:
    """One sentence for each transform that is not exported, or has no case."""
    unknown = [
        f"{name} is not exported by accelgrad.transforms"
        for name, value in public().items()
        if name not in transforms.__all__ or getattr(transforms, name, None) is not value
    ]
    return unknown + [f"{name} has no case in CASES" for name in public() if name not in CASES]


def test_every_transform_is_exported_and_has_a_case():
    assert faults() == []


def test_a_forgotten_transform_is_noticed(monkeypatch):
    class Forgotten(transforms.Transform):
        pass

    Forgotten.__module__ = "accelgrad.transforms.fixed"
    monkeypatch.setattr("accelgrad.transforms.fixed.Forgotten", Forgotten, raising=False)
    assert faults() == [
        "Forgotten is not exported by accelgrad.transforms",
        "Forgotten has no case in CASES",
    ]


def test_the_table_names_only_transforms_that_exist():
    assert CASES.keys() == public().keys() and CASES.keys() > FIXED


@pytest.mark.parametrize("name", CASES)
def test_a_transform_makes_an_image_of_the_expected_size(name):
    transform, image, expected = CASES[name]
    assert F.get_dimensions(transform(image)) == expected


@pytest.mark.parametrize("name", CASES)
def test_a_transform_depends_on_the_seed_and_on_nothing_else(name):
    transform, image, _ = CASES[name]
    copy = pickle.loads(pickle.dumps(transform))
    accelgrad.manual_seed(3)
    first = [back(transform(image)) for _ in range(20)]
    accelgrad.manual_seed(3)
    assert all((back(copy(image)) == one).all() for one in first)
    differ = any((one != first[0]).any() for one in first)
    same_by_nature = {"RandomChoice", "RandomOrder", "RandomApply"}  # all parts of these cases do the same
    assert differ is (name not in FIXED | same_by_nature)


@pytest.mark.parametrize("name", CASES)
def test_a_transform_prints_its_name(name):
    assert repr(CASES[name][0]).startswith(f"{name}(")


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"ToTensor", "PILToTensor", "ToPILImage"}))
def test_a_transform_keeps_the_kind_of_image(name):
    transform, _, expected = CASES[name]
    batch = tensor(pixels(12, 16, 3)).float().div(255)  # (3, 12, 16)
    assert isinstance(transform(batch), accelgrad.Tensor) and F.get_dimensions(transform(batch)) == expected
    if name not in ("Normalize", "RandomErasing"):
        assert isinstance(transform(IMAGE), np.ndarray)
