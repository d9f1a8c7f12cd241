"""The names of ``torch.utils.data`` are found at the paths at which PyTorch has them."""

from __future__ import annotations

import ast
import importlib
import pathlib
import pkgutil
import re

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


README = pathlib.Path(data.__file__).with_name("README.md")


def listed() -> list[str]:
    """The files in the README's table, in their order."""
    table = README.read_text(encoding="utf-8").partition("## Files")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`(\w+)\.py`", row)]


def test_the_readme_lists_every_file_once():
    assert sorted(listed()) == sorted(file.name for file in pkgutil.iter_modules(data.__path__))


def test_the_readmes_reading_order_goes_upwards():
    """A file imports only files above its own line."""
    order = listed()
    for name in order:
        tree = ast.parse(README.with_name(f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(data.__name__):
                last = node.module.removeprefix(data.__name__).strip(".")
                for used in [last] if last else [alias.name for alias in node.names]:
                    assert order.index(used) < order.index(name), f"{name} imports {used}"


def test_the_readme_names_only_what_exists():
    """Methods and functions in code marks, as `Class.method` or `file.function`."""
    known = {}
    for name in listed():
        module = importlib.import_module(f"{data.__name__}.{name}")
        known |= {name: module} | vars(module)
    for owner, attribute in re.findall(r"`(\w+)\.(\w+)`", README.read_text(encoding="utf-8")):
        if attribute != "py" and owner != "dataset":
            assert hasattr(known[owner], attribute), f"{owner}.{attribute}"
