"""Shared by the kernels' tests: namespaces with and without kernels, awkward arrays, one thread and two."""

from __future__ import annotations

import importlib
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from accelgrad import kernels
from accelgrad.arrays import backend
from accelgrad.kernels import plain


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The operations silence NumPy's floating point warnings around every formula; so do these tests."""
    with np.errstate(all="ignore"):
        yield


@pytest.fixture
def xp() -> Iterator[backend.Namespace]:
    """NumPy with every kernel that accepts its arguments."""
    with kernels.use("numba"):
        yield backend.CPU


class Formulas:
    """NumPy and the plain formulas, and no kernel in any mode: what the kernels are compared with."""

    def __getattr__(self, name: str) -> Any:
        if hasattr(np, name):
            return getattr(np, name)
        return lambda *args, **kwargs: getattr(plain, name)(self, *args, **kwargs)


@pytest.fixture
def formula() -> Formulas:
    return Formulas()


CPU_FILES = (
    "activation",
    "argument",
    "conv",
    "embedding",
    "matmul",
    "norm",
    "optimizer",
    "recurrent",
    "reduce",
    "softmax",
    "window",
)


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The number of threads; with two, every kernel uses them, however small its work."""
    kernels.set_num_threads(request.param)
    for name in CPU_FILES:
        module = importlib.import_module(f"accelgrad.kernels.cpu.{name}")
        if hasattr(module, "PARALLEL"):
            monkeypatch.setattr(module, "PARALLEL", 1)
    return request.param


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def took(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kernels that ran and did not decline, in order: a test that compares values would
    otherwise pass without any kernel."""
    names: list[str] = []
    load = kernels.load

    def watched(name: str, device: str) -> list[Any]:
        def watch(entry: Any) -> Any:
            def call(*args: Any, **options: Any) -> Any:
                result = entry.call(*args, **options)
                if result is not NotImplemented:
                    names.append(name)
                return result

            return types.SimpleNamespace(call=call, accepts=entry.accepts, faster=entry.faster)

        return [watch(entry) for entry in load(name, device)]

    monkeypatch.setattr(kernels, "load", watched)
    return names


def wide(value: Any) -> Any:
    """A float array in float64, anything else as it is."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(np.float64)
    return value


@pytest.fixture
def agree(xp: Any, formula: Any, took: list[str]) -> Any:
    """Compare a kernel with its formula computed in float64; fail if no kernel took the call."""

    def check(name: str, *args: Any, scale: float = 1.0, **options: Any) -> Any:
        dtype = next(x.dtype for x in args if isinstance(x, np.ndarray) and x.dtype.kind == "f")
        before = [x.copy() if isinstance(x, np.ndarray) else x for x in args]
        count = len(took)
        found = getattr(xp, name)(*args, **options)
        assert took[count:] == [name], f"no kernel took {name}"
        for x, old in zip(args, before, strict=True):
            if isinstance(x, np.ndarray):
                np.testing.assert_array_equal(x, old, err_msg=f"{name} wrote on an input")
        wanted = getattr(formula, name)(*map(wide, args), **options)
        relative = 2e-5 if dtype == np.float32 else 2e-13
        pairs = zip(found, wanted, strict=True) if isinstance(found, tuple) else [(found, wanted)]
        for one, other in pairs:
            one, other = np.asarray(one), np.asarray(other)
            assert one.shape == other.shape
            assert one.dtype == (dtype if other.dtype.kind == "f" else other.dtype)
            np.testing.assert_allclose(one, other, rtol=relative, atol=scale * relative)
        return found

    return check
