"""Type checkers see the kernel files under the names by which they are imported."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_the_package_has_a_link_to_the_kernels_of_a_device(kind):
    assert (ROOT / "accelgrad" / "kernels" / kind).resolve() == ROOT / "kernels" / kind


@pytest.mark.slow
def test_a_wrong_call_of_a_kernel_file_is_an_error(tmp_path):
    pytest.importorskip("mypy")
    file = tmp_path / "wrong.py"
    file.write_text("from accelgrad.kernels.cpu.threads import parallel\nparallel(1)\n")
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "setup.cfg"), str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert 'Argument 1 to "parallel" has incompatible type "int"' in done.stdout
