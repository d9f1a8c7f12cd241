"""The kernels that hold most registers compile to machine code without stack or spills; the script does
them all.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("numba_cuda")
pytest.importorskip("cuda.bindings.nvjitlink")

PROGRAM = """
import sys; sys.path.insert(0, {folder!r})
import kernel_report
wanted = {{"matmul_nn", "sum_rows", "layer_norm_rows_backward", "adam_all", "rprop_all", "squares_of_all"}}
found = [one for one in kernel_report.programs() if one.name in wanted]
assert len(found) == len(wanted), [one.name for one in found]
program_code = found[0].cubin("f", 90)[0]
assert kernel_report.parameters(program_code) == kernel_report.expected_parameters(found[0], "f")
for program in found:
    assert kernel_report.double_operations(program) == 0, program.name
    for arch in (80, 90):
        row = kernel_report.measure(program, "f", arch)
        assert 0 < row["registers"] <= 128 and row["stack"] == row["spills"] == 0, (program.name, arch, row)
found[0].signature = found[0].signature.replace("i", "q", 1)  # a call that hands over too much is noticed
assert kernel_report.parameters(program_code) != kernel_report.expected_parameters(found[0], "f")
print("compiled", len(found))
"""


def test_kernels_compile_for_two_architectures_without_stack_or_spills() -> None:
    here = pathlib.Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(folder=str(here))],
        env={key: value for key, value in os.environ.items() if key != "NUMBA_ENABLE_CUDASIM"},
        cwd=here.parent.parent,
        capture_output=True,
        text=True,
        timeout=200,
    )
    if "libNVVM" in done.stderr or "nvJitLink cannot" in done.stderr:
        pytest.skip("Numba's CUDA compiler is not installed here")
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.strip().endswith("compiled 6")


def test_the_name_that_numba_misses_in_a_newer_numpy_is_lent_and_taken_back() -> None:
    program = """
import numpy as np
vars(np).pop("row_stack", None)
from accelgrad.kernels.cuda import launch
assert not hasattr(np, "row_stack") and np.vstack(([1.0], [2.0])).shape == (2, 1)
print("imported", launch.cuda.__name__)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={key: value for key, value in os.environ.items() if key != "NUMBA_ENABLE_CUDASIM"},
        cwd=pathlib.Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("imported numba.cuda")
