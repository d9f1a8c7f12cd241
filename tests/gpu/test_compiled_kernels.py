"""Our CUDA kernels as machine code of the host, launched by the real CuPy: the tests of tests/gpu/compiled,
in a process of their own, because CuPy must not be imported before the harness is.
"""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
CUPY = "14.2.0"


def what_is_missing() -> str:
    """Why the harness cannot run here; empty where it can."""
    if sys.platform != "linux":
        return "needs Linux"
    if not shutil.which(os.environ.get("CXX", "g++")) or not shutil.which("nm"):
        return "needs g++ and nm"
    for package, wanted in (("cupy-cuda13x", CUPY), ("numba-cuda", "")):
        try:
            found = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return f"needs {package}"
        if wanted and found != wanted:
            return f"needs {package} {wanted}, and {found} is installed"
    return ""


@pytest.mark.timeout(600)
@pytest.mark.skipif(bool(what_is_missing()), reason=what_is_missing() or "all there")
def test_every_cuda_kernel_runs_on_the_host_under_the_detector(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--device") == "cupy-on-host":
        pytest.skip("this process runs them itself")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
            *("--device", "cupy-on-host", str(HERE / "compiled")),
        ],
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
