"""Modes of a ``with`` block belong to the thread that opened it; defaults belong to the process."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import accelgrad
from accelgrad.arrays import backend, dtypes


def in_another_thread(question):
    """The answer to a question asked in a thread of its own."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(question()))
    thread.start()
    thread.join()
    return answers[0]


def autocast_is_on():
    return accelgrad.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    ("block", "question", "inside"),
    [
        (lambda: accelgrad.no_grad(), accelgrad.is_grad_enabled, False),
        (lambda: accelgrad.inference_mode(), accelgrad.is_inference_mode_enabled, True),
        (lambda: accelgrad.autocast("cpu"), autocast_is_on, True),
    ],
    ids=["no_grad", "inference_mode", "autocast"],
)
def test_a_block_is_seen_by_its_own_thread_only(block, question, inside):
    outside = question()
    assert outside != inside
    with block():
        assert question() == inside
        assert in_another_thread(question) == outside
    assert question() == outside


@pytest.mark.parametrize("outside", accelgrad.kernels.MODES)
@pytest.mark.parametrize("inside", accelgrad.kernels.MODES)
def test_a_block_of_kernels_is_seen_by_its_own_thread_only(outside, inside):
    accelgrad.kernels.use(outside)
    with accelgrad.kernels.use(inside):
        assert accelgrad.kernels.mode() == inside
        assert in_another_thread(accelgrad.kernels.mode) == outside
    assert accelgrad.kernels.mode() == in_another_thread(accelgrad.kernels.mode) == outside


def test_in_a_block_names_mean_what_its_thread_chose(monkeypatch):
    xp, x = backend.CPU, np.ones((64, 64), np.float32)
    ran = []
    monkeypatch.setattr(accelgrad.kernels, "load", lambda name, device: ran.append(name) or [])
    accelgrad.kernels.use("off")
    with accelgrad.kernels.use("numba"):
        in_another_thread(lambda: xp.softmax(x, -1))
        assert ran == []
        xp.softmax(x, -1)
        assert ran[0] == "softmax"


def test_a_device_block_is_seen_by_its_own_thread_only(monkeypatch):
    default = backend.default_namespace()
    other = backend.NumpyNamespace(backend.CPU.module, backend.Device("cpu", 0))
    monkeypatch.setitem(backend._namespaces, ("cpu", 0), other)
    with accelgrad.device("cpu"):
        assert backend.default_namespace() is other
        assert in_another_thread(backend.default_namespace) is default


def test_a_block_in_another_thread_ends_there():
    with accelgrad.device("cpu"):

        def enter_and_leave():
            with accelgrad.device("cpu"):
                pass
            return len(backend._blocks.entered)

        assert in_another_thread(enter_and_leave) == 0
        assert len(backend._blocks.entered) == 1


@pytest.mark.parametrize("value", ["float64", "float32"])
def test_the_default_type_belongs_to_the_process(value):
    accelgrad.set_default_dtype(getattr(accelgrad, value))
    assert in_another_thread(dtypes.get_default_dtype).name == value


def test_print_options_belong_to_the_process():
    with accelgrad.printoptions(precision=7):
        assert in_another_thread(lambda: accelgrad.get_printoptions()["precision"]) == 7


def test_determinism_and_precision_belong_to_the_process():
    accelgrad.use_deterministic_algorithms(True)
    accelgrad.set_float32_matmul_precision("high")
    try:
        assert in_another_thread(accelgrad.are_deterministic_algorithms_enabled)
        assert in_another_thread(accelgrad.get_float32_matmul_precision) == "high"
    finally:
        accelgrad.use_deterministic_algorithms(False)
        accelgrad.set_float32_matmul_precision("highest")
