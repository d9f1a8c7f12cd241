"""Pickles that version 0.1.0 made name modules that have moved since."""

from __future__ import annotations

import importlib
import pathlib
import subprocess
import sys

import pytest

from accelgrad.core import moved

OLD = pathlib.Path(__file__).with_name("made_by_version_0_1_0.pkl")


@pytest.mark.parametrize("old", sorted(moved.MOVED))
def test_every_new_name_is_a_module_and_no_old_one_is(old):
    for new in moved.MOVED[old].split():
        assert importlib.import_module(f"accelgrad.{new}").__name__ == f"accelgrad.{new}"
    with pytest.raises(ImportError):
        importlib.import_module(f"accelgrad.{old}")


def test_a_name_that_is_gone_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"accelgrad\.size\.Sise has no successor"):
        moved.find("accelgrad.size", "Sise")


@pytest.mark.host
def test_an_old_pickle_is_read_once_the_old_names_are_registered():
    code = f"""
import pickle
with open({str(OLD)!r}, "rb") as file:
    content = file.read()
try:
    pickle.loads(content)
except ModuleNotFoundError as error:
    print(error.name)
from accelgrad.core import moved
moved.register()
found = pickle.loads(content)
print(found["tensor"].tolist(), found["tensor"].requires_grad, found["dtype"], found["size"], found["device"])
print([type(one).__name__ for one in found["model"]])
print(found["model"][0](found["parameter"][None].expand(2, 2)).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "accelgrad.conversions",
        "[1.0, 2.0] True accelgrad.float32 accelgrad.Size([1, 2]) cpu",
        "['Linear', 'BatchNorm1d', 'ReLU', 'MaxPool1d', 'MultiheadAttention', 'Flatten', 'LSTM']",
        "accelgrad.Size([2, 3])",
    ], done.stderr
