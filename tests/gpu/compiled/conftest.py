"""These tests run our CUDA kernels as machine code of the host, launched by the real CuPy: pytest --device
cupy-on-host, which tests/gpu/test_compiled_kernels.py starts.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from accelgrad import kernels
from accelgrad.arrays import backend


def pytest_ignore_collect(collection_path: pathlib.Path, config: pytest.Config) -> bool | None:
    """Only where CuPy runs on the host, and numba-cuda can give it our kernels."""
    runs = config.getoption("--device") == "cupy-on-host" and importlib.util.find_spec("numba_cuda")
    return None if runs else True


@pytest.fixture
def host() -> Any:
    """The harness's part for our kernels: its detector, its orders, its measurements."""
    return importlib.import_module("kernels_on_host")


@pytest.fixture
def ours() -> Iterator[Any]:
    """The card's namespace with every kernel of ours that accepts; none may be missing in the end."""
    with kernels.use("numba"):
        yield backend.namespace("gpu")
    missing = {name: why for (device, name), why in kernels.missing.items() if device == "cuda"}
    assert not missing


@pytest.fixture
def run(host: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Iterator[Callable[..., Any]]:
    """Compile the kernel that ``make(cuda, T)`` gives, launch it under the detector, give its arrays back."""
    launch: Any = importlib.import_module("accelgrad.kernels.cuda.launch")
    cupy: Any = importlib.import_module("cupy")
    monkeypatch.setattr(launch, "PROGRAMS", [])
    monkeypatch.setattr(launch, "cache_folder", lambda: tmp_path)
    numbers = itertools.count()

    def launched(make: Any, signature: str, grid: Any, threads: Any, *arguments: Any, **options: Any) -> Any:
        def planted(T: Any) -> Any:
            return make(launch.cuda, T)

        planted.__name__ = f"planted_{next(numbers)}"  # code is kept by this name
        moved = [cupy.asarray(one) if isinstance(one, np.ndarray) else one for one in arguments]
        launch.Program(planted, signature, dtypes="f", **options)(grid, threads, "f", *moved)
        return [one.get() for one in moved if isinstance(one, cupy.ndarray)]

    with host.watched():
        yield launched
