"""Freed memory that stays with the process: when it does, and who can forbid it."""

from __future__ import annotations

import os
import pathlib
import platform
import subprocess
import sys

import pytest

from accelgrad.kernels import memory

ROOT = pathlib.Path(__file__).resolve().parents[2]
GLIBC = platform.libc_ver()[0] == "glibc"

FAULTS = """
import resource
import numpy
import accelgrad

def step():
    arrays = [numpy.ones((1 << 20,), numpy.float32) for _ in range(4)]  # 16 MB in all

for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

ASK = "from accelgrad.kernels.memory import keep_freed_memory; print(keep_freed_memory())"


def python(code: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**kept, "ACCELGRAD_KEEP_MEMORY": "1", "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not GLIBC, reason="only glibc has these parameters")
def test_the_arrays_of_the_next_step_cost_no_page_faults():
    assert int(python(FAULTS)) < 1000  # of 40,960 pages that are written


@pytest.mark.skipif(not GLIBC, reason="only glibc has these parameters")
def test_glibc_is_told_unless_the_user_forbids_it_or_has_chosen_himself():
    assert python(ASK) == "True"
    for name, value in (
        ("ACCELGRAD_KEEP_MEMORY", "0"),
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=131072"),
    ):
        assert python(ASK, **{name: value}) == "False"


def test_nothing_is_asked_of_other_systems(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert memory.keep_freed_memory() is False


@pytest.mark.parametrize("problem", [AttributeError, OSError])
def test_a_c_library_without_the_function_is_left_alone(monkeypatch, problem):
    def library(name):
        raise problem("no mallopt")

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("ACCELGRAD_KEEP_MEMORY", raising=False)
    for name in (*memory._ASKED, "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(memory.ctypes, "CDLL", library)
    assert memory.keep_freed_memory() is False
