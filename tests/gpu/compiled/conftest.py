"""These tests run our CUDA kernels as machine code of the host, launched by the real CuPy: pytest --device
cupy-on-host, which tests/gpu/test_compiled_kernels.py starts.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest

from accelgrad import backend, kernels


@pytest.fixture(scope="session", autouse=True)
def on_host(request: pytest.FixtureRequest) -> None:
    """Skipped where the kernels are not compiled for the host."""
    if request.config.getoption("--device") != "cupy-on-host":
        pytest.skip("needs pytest --device cupy-on-host")
    pytest.importorskip("numba_cuda")


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
