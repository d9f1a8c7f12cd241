"""NumPy's floating point warnings: silent between hush and unhush, and as before after them."""

from __future__ import annotations

import importlib.util
import sys
import types

import numpy as np
import pytest

from accelgrad.arrays import quiet

pytestmark = pytest.mark.host


def with_the_public_way(monkeypatch):
    """The module as another version of NumPy has it, without the context variable."""
    monkeypatch.setitem(sys.modules, "numpy._core.umath", types.ModuleType("umath"))
    spec = importlib.util.find_spec("accelgrad.arrays.quiet")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.undo()
    assert module.unhush.__module__ == "accelgrad.arrays.quiet"
    return module


@pytest.mark.parametrize("way", ["fast", "public"])
def test_warnings_are_silent_between_hush_and_unhush_only(way, monkeypatch):
    module = quiet if way == "fast" else with_the_public_way(monkeypatch)
    with np.errstate(all="raise"):
        outer = module.hush()
        inner = module.hush()
        assert np.log(np.zeros(1)).tolist() == [-np.inf]
        module.unhush(inner)
        assert np.isnan(np.sqrt(-np.ones(1))).all() and np.isinf(np.ones(1) / np.zeros(1)).all()
        module.unhush(outer)
        with pytest.raises(FloatingPointError, match="divide by zero"):
            np.log(np.zeros(1))
