"""Tools to see whether a loader leaves anything behind: R0 within a process, and scripts run from outside."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from dataclasses import dataclass
from typing import Any

import psutil

HERE = pathlib.Path(__file__).resolve()
ROOT = HERE.parents[3]
MARK = "ACCELGRAD_SCENARIO"


# --- R0


def resources() -> dict[str, Any]:
    """Count what this process holds of everything that a loader might leave behind."""
    with open("/proc/self/maps") as file:
        maps = sum("memfd:" in line for line in file)
    # /proc/self/fd itself is one descriptor while it is listed, in every snapshot.
    return {
        "children": {child.pid for child in psutil.Process().children(recursive=True)},
        "descriptors": len(os.listdir("/proc/self/fd")),
        "mappings of shared memory": maps,
        "threads": len(os.listdir("/proc/self/task")),
        "names in /dev/shm": set(os.listdir("/dev/shm")),
    }


class R0:
    """Check the resource condition: shortly after the block everything is as it was before it.

    The promise is one second on a quiet machine; a test may run on a busy one.
    """

    def __init__(self, seconds: float = 3.0) -> None:
        self.seconds = seconds

    def __enter__(self) -> R0:
        self.before = resources()
        return self

    def __exit__(self, kind: Any, *rest: Any) -> None:
        if kind is None:
            self.check()

    def check(self) -> None:
        deadline = time.monotonic() + self.seconds
        while True:
            after = resources()
            more = {
                name: (self.before[name], after[name])
                for name in after
                if (
                    after[name] - self.before[name]
                    if isinstance(after[name], set)
                    else after[name] > self.before[name]
                )
            }
            if not more:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"left behind (before, after): {more}")
            time.sleep(0.01)


# --- scripts


@dataclass
class Outcome:
    """The end of a script: its exit code, its output, and the processes that it left behind."""

    code: int
    output: str
    errors: str
    left: list[int]

    def ok(self) -> str:
        """Check that the script ended well and left nothing, and return its output."""
        assert self.code == 0, f"exit code {self.code}\n{self.output}\n{self.errors}"
        assert self.left == [], f"processes left behind: {self.left}"
        return self.output


PRELUDE = """
import gc, os, random, signal, sys, threading, time, warnings
import numpy as np
import accelgrad
from accelgrad.utils.data import *
from utils.data.scenario import R0, resources, workers_of

class Numbers(Dataset):
    def __init__(self, n=32, act=None):
        self.n, self.act = n, act
    def __len__(self):
        return self.n
    def __getitem__(self, index):
        if self.act is not None:
            self.act(index)
        return np.full(4, index, np.float32)

def firsts(batches):
    return [int(batch.array[0, 0]) for batch in batches]
"""


def marked_processes(mark: str) -> list[int]:
    """Return the living processes, of any parent and group, that were started under ``mark``."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    if mark.encode() in file.read():
                        found.append(int(entry))
            except OSError:
                pass
    return found


def workers_of(iterator: Any) -> list[int]:
    """Return the pids of an iterator's workers, when all are known."""
    deadline = time.monotonic() + 20
    while any(handle is None or handle.pid is None for handle in iterator.pool.handles):
        iterator.pool.poll(0.05)
        assert time.monotonic() < deadline, "the workers did not start"
    return [handle.pid for handle in iterator.pool.handles]


class Script:
    """A script in its own process group, with a hard limit."""

    def __init__(
        self, body: str, *, by: str = "file", folder: pathlib.Path, prelude: str = PRELUDE, **environment: str
    ):
        self.mark = f"{MARK}={uuid.uuid4().hex}"
        source = prelude + textwrap.dedent(body)
        command, stdin = [sys.executable, "-X", "faulthandler"], subprocess.DEVNULL
        if by == "file":
            path = folder / "scenario_script.py"
            path.write_text(source)
            command.append(str(path))
        elif by == "-c":
            command += ["-c", source]
        else:
            command.append("-")
            stdin = subprocess.PIPE
        name, _, value = self.mark.partition("=")
        self.process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            start_new_session=True,
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
                "PYTHONWARNINGS": "error",
                name: value,
                **environment,
            },
        )
        if stdin == subprocess.PIPE:
            assert self.process.stdin is not None
            self.process.stdin.write(source)
            self.process.stdin.close()
            self.process.stdin = None

    def line(self) -> str:
        """Wait for the next line of its output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self, limit: float = 40, within: float = 3.0) -> Outcome:
        """Wait for the end; a process that still lives ``within`` seconds after it counts as left behind."""
        try:
            output, errors = self.process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            output, errors = self.process.communicate()
            errors += f"\n(killed after {limit} s)"
        deadline = time.monotonic() + within
        while (left := marked_processes(self.mark)) and time.monotonic() < deadline:
            time.sleep(0.01)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return Outcome(self.process.returncode, output, errors, left)
