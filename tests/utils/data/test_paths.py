"""The names of ``torch.utils.data`` are found at the paths at which PyTorch has them."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from accelgrad.utils import data

PATHS = ["dataloader", "dataset", "distributed", "sampler"]
LEFT_OUT = {"backward_compatibility", "datapipes", "graph", "graph_settings"}  # of the removed DataPipes


@pytest.mark.parametrize("path", PATHS)
def test_every_public_name_is_found_at_pytorchs_path(path):
    theirs = pytest.importorskip(f"torch.utils.data.{path}")
    ours = importlib.import_module(f"accelgrad.utils.data.{path}")
    for name in theirs.__all__:
        assert getattr(ours, name) is getattr(data, name), name


@pytest.mark.parametrize("path", PATHS)
def test_a_class_is_written_where_pytorch_writes_it(path):
    """Its ``__module__``, by which a pickle names it, differs in the package's name alone."""
    theirs = pytest.importorskip(f"torch.utils.data.{path}")
    for name in theirs.__all__:
        if theirs.__dict__[name].__module__ == theirs.__name__:
            assert getattr(data, name).__module__ == f"accelgrad.utils.data.{path}", name


def test_no_public_path_of_pytorchs_is_forgotten():
    torch_data = pytest.importorskip("torch.utils.data")
    theirs = {file.name for file in pkgutil.iter_modules(torch_data.__path__)}
    assert {name for name in theirs if not name.startswith("_")} == LEFT_OUT | set(PATHS)


def test_a_name_is_either_a_file_or_something_to_use():
    """``import accelgrad.utils.data.x`` must not give a function that hides the file of that name."""
    files = {file.name for file in pkgutil.iter_modules(data.__path__)}
    assert not files & set(data.__all__)
