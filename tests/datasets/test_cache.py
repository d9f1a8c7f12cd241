"""The folder of data files, locks and atomic replacement."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from accelgrad.datasets.cache import FileLock, home, replacing


def test_the_root_that_is_given_wins(monkeypatch):
    monkeypatch.setenv("ACCELGRAD_HOME", "/elsewhere")
    assert home("/data") == Path("/data")


def test_the_environment_names_the_folder(monkeypatch):
    monkeypatch.setenv("ACCELGRAD_HOME", "~/mine")
    assert home() == Path.home() / "mine"


def test_the_default_is_the_cache_of_the_user(monkeypatch):
    monkeypatch.delenv("ACCELGRAD_HOME", raising=False)
    assert home() == Path.home() / ".cache" / "accelgrad"


def test_only_one_thread_at_a_time_holds_a_lock(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(20):
            with FileLock(tmp_path / "lock", poll=0.0005):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 60


def test_a_lock_that_stays_taken_is_named(tmp_path, capsys):
    with (
        FileLock(tmp_path / "lock"),
        pytest.raises(TimeoutError, match=r"lock is still locked by another process after 0\.05 s"),
        FileLock(tmp_path / "lock", timeout=0.05, poll=0.01),
    ):
        pass
    assert "waiting for another process" in capsys.readouterr().err


def test_a_process_that_dies_leaves_no_lock_behind(tmp_path):
    program = (
        "import os, sys; from accelgrad.datasets.cache import FileLock\n"
        "FileLock(sys.argv[1]).__enter__(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path / "lock")], timeout=60).returncode == 9
    with FileLock(tmp_path / "lock", timeout=5) as lock:
        assert lock.path == tmp_path / "lock"


def test_a_file_is_replaced_only_when_the_writing_succeeds(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.read_text() == "old"
