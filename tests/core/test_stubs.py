"""The type stubs say what the package has."""

from __future__ import annotations

import ast

import pytest

from accelgrad.cli.stubs import stubs
from accelgrad.ops.registry import OPS

FILES = list(stubs().items())


@pytest.mark.parametrize(("path", "text"), FILES, ids=[path.name for path, _ in FILES])
def test_a_stub_is_what_the_registry_gives(path, text):
    assert path.read_text(encoding="utf-8") == text, "run `python -m accelgrad.cli.stubs`"
    ast.parse(text)


def test_every_operation_stands_in_a_stub():
    texts = {path.name: text for path, text in FILES}
    for entry in OPS.values():
        if not entry.namespace:
            assert f"def {entry.name}(" in texts["__init__.pyi"]
        if entry.method:
            assert f"def {entry.method}(" in texts["tensor.pyi"] or f" {entry.method}:" in texts["tensor.pyi"]
