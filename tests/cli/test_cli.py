"""The commands as a user runs them."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def command(*arguments: str, timeout: float = 240, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "accelgrad", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "COLUMNS": "100", **environment},
    )


def test_help_lists_the_commands():
    done = command("--help")
    assert done.returncode == 0
    for name in ("demo", "doctor", "bench", "data", "notebooks"):
        assert name in done.stdout
        assert command(name, "--help").returncode == 0


def test_an_unknown_command_is_exit_code_2():
    done = command("train")
    assert done.returncode == 2 and "invalid choice" in done.stderr


def test_the_demo_learns_saves_and_draws(tmp_path):
    done = command("demo", "--out", str(tmp_path), "--epochs", "12")
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.strip().splitlines()[-1]
    found = re.fullmatch(r"test accuracy (\d+\.\d) %, files in (.*)", last)
    assert found and float(found[1]) >= 97.0 and found[2] == str(tmp_path)
    assert "the same predictions" in done.stdout
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"digits-cnn.npz", "training.png", "confusion.png", "most-wrong.png"}
    assert all((tmp_path / name).stat().st_size > 5000 for name in names)


def test_ctrl_c_leaves_a_usable_checkpoint(tmp_path):
    running = subprocess.Popen(
        [sys.executable, "-m", "accelgrad", "demo", "--out", str(tmp_path), "--epochs", "500"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "digits-cnn.npz").exists():
            assert time.monotonic() < deadline and running.poll() is None, "no checkpoint appeared"
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=60)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 130, err
    assert "stopped after" in out and "the same predictions" in out
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("demo", "--epochs", "0"), "not a positive number"),
        (("demo", "--epochs", "x"), "not a whole number"),
        (("demo", "--workers", "-1"), "is negative"),
    ],
)
def test_wrong_options_are_named(arguments, message):
    done = command(*arguments)
    assert done.returncode == 2 and message in done.stderr


def test_a_device_that_is_not_there_is_explained():
    done = command("demo", "--device", "tpu")
    assert done.returncode == 1 and "Expected one of cpu, gpu, cuda, auto" in done.stdout


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    done = command("demo", "--out", str(tmp_path / "file" / "x"))
    assert done.returncode == 1 and "the folder cannot be made" in done.stdout


def test_doctor_reports_for_people_and_programs():
    done = command("doctor")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^OK +numpy +\d", done.stdout, re.M) and re.search(
        r"^(OK|WARN) +gpu", done.stdout, re.M
    )
    findings = json.loads(command("doctor", "--json").stdout)
    assert {one["status"] for one in findings} <= {"OK", "WARN", "FIX"}
    assert all(set(one) == {"status", "subject", "detail", "remedy"} for one in findings)


def test_data_lists_and_describes():
    assert "digits" in command("data").stdout
    facts = json.loads(command("data", "digits", "--json").stdout)
    assert facts["samples"] == 1442 and len(facts["classes"]) == 10
    assert command("data", "imagenet").returncode == 2


def test_notebooks_are_listed_and_copied(tmp_path):
    titles = json.loads(command("notebooks", "--json").stdout)
    assert len(titles) == 12
    assert command("notebooks", "--to", str(tmp_path)).returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {*titles, "engine.py"}
    first = next(iter(titles))
    (tmp_path / first).write_text("mine")
    again = command("notebooks", "--to", str(tmp_path))
    assert "left as it is" in again.stdout and (tmp_path / first).read_text() == "mine"


def test_bench_times_and_writes_json(tmp_path):
    file = tmp_path / "figures.json"
    done = command("bench", "tiny MLP, SGD", "--quick", "--json", str(file))
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())
    assert figures["results"]["tiny MLP, SGD"]["accelgrad_us"] > 0
    assert figures["machine"]["versions"]["numpy"]
    assert command("bench", "huge MLP").returncode == 2


def test_bench_stays_on_the_processor(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELGRAD_DEVICE", "gpu")
    done = command("bench", "tiny MLP, SGD", "--quick", "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stderr
    assert "bench times the processor" in done.stdout and "benchmarks/gpu.py" in done.stdout
