"""The transforms are found at the paths at which torchvision has them."""

from __future__ import annotations

import importlib

import pytest

from accelgrad import transforms


@pytest.mark.parametrize("path", ["transforms", "transforms.transforms"])
def test_every_class_is_found_at_torchvisions_paths(path):
    module = importlib.import_module(f"accelgrad.{path}")
    for name in transforms.__all__:
        if name != "functional":
            assert getattr(module, name) is getattr(transforms, name)


def test_the_functions_are_found_at_torchvisions_path():
    functional = importlib.import_module("accelgrad.transforms.functional")
    assert functional is transforms.functional
    assert functional.InterpolationMode is transforms.InterpolationMode
