"""Devices and array modules: how devices are spelled, and what an array module makes of a name."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import accelgrad
from accelgrad import kernels
from accelgrad.arrays import backend
from accelgrad.arrays.backend import CPU, Device, Namespace, namespace

# --- devices


def test_devices_are_parsed_in_one_place():
    assert accelgrad.device("gpu") == accelgrad.device("cuda") and str(accelgrad.device("gpu:1")) == "cuda:1"
    assert repr(accelgrad.device("cpu")) == "device(type='cpu')"
    with pytest.raises(RuntimeError, match="Expected one of cpu, gpu, cuda, auto device type"):
        accelgrad.device("tpu")
    with pytest.raises(RuntimeError, match="Invalid device string"):
        accelgrad.device("gpu:x")


@pytest.mark.parametrize(
    ("arguments", "exception", "message"),
    [
        ((2.5,), TypeError, "device must be a string such as 'cpu' or 'gpu:0', got 2.5"),
        ((True,), TypeError, "device must be a string such as 'cpu' or 'gpu:0', got True"),
        (("gpu:1", 1), RuntimeError, "must not include an index because index was passed explicitly: gpu:1"),
        (("gpu:-1",), RuntimeError, "Invalid device string: 'gpu:-1'; write 'gpu:0'"),
        (("gpu", -1), RuntimeError, "device index -1 is out of range for device type 'cuda'"),
        (("cpu:1",), RuntimeError, "device index 1 is out of range for device type 'cpu'"),
    ],
)
def test_a_device_that_cannot_be_is_refused(arguments, exception, message):
    with pytest.raises(exception, match=message):
        Device(*arguments)


def test_a_number_names_a_card_and_spaces_and_case_do_not_matter():
    assert Device(1) == Device("gpu:1") == Device(" CUDA:1 ") == Device("gpu", 1)
    assert Device(Device("gpu:1")) == Device("gpu:1") and Device("gpu") != Device("gpu:0")


def test_a_device_is_a_constant():
    one = Device("gpu:1")
    with pytest.raises(AttributeError, match="attribute 'index' of a device cannot be changed"):
        one.index = 2
    assert {one: "a"}[Device("cuda", 1)] == "a"
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one


# --- array modules


def test_a_name_is_resolved_once_and_again_after_a_setting_has_changed(monkeypatch):
    asked = []

    class Asking(Namespace):
        def resolved(self, name):
            asked.append(name)
            return super().resolved(name)

    # What the kernels keep of this namespace ends with the test.
    monkeypatch.setattr(kernels, "_forgetters", list(kernels._forgetters))
    xp = Asking(np, Device("cpu"))
    assert xp.cbrt is np.cbrt and xp.cbrt is np.cbrt and asked == ["cbrt"]
    kernels.forget()
    assert xp.cbrt is np.cbrt and asked == ["cbrt", "cbrt"]
    assert xp.module is np and xp.device == Device("cpu")


def test_a_name_that_nobody_has_is_an_error():
    with pytest.raises(
        AttributeError, match=r"neither numpy nor accelgrad\.kernels\.plain has 'no_such_name'"
    ):
        CPU.no_such_name  # noqa: B018
    assert not hasattr(CPU, "__no_such_protocol__")


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
def test_the_short_ways_to_reductions_agree_with_numpys(name):
    x = np.arange(1.0, 25.0).reshape(2, 3, 4)
    short, own = backend.NumpyNamespace._direct[name], getattr(np, name)
    for options in ({}, {"axis": 1}, {"axis": (0, 2)}, {"axis": None}, {"axis": -1, "keepdims": True}):
        np.testing.assert_array_equal(short(x, **{"axis": None, **options}), own(x, **options))
    if name in ("sum", "prod"):
        assert short(x.astype(np.int8), None, dtype=np.float32).dtype == np.float32


def test_the_short_ways_to_views_agree_with_numpys():
    x = np.arange(24.0).reshape(2, 3, 4)
    assert np.shares_memory(CPU.reshape(x, (6, 4)), x) and CPU.reshape(x, (6, -1)).shape == (6, 4)
    np.testing.assert_array_equal(CPU.swapaxes(x, 0, -1), np.swapaxes(x, 0, -1))


@pytest.mark.host
def test_the_host_gives_and_takes_the_same_array():
    x = np.arange(3.0)
    assert CPU.from_host(x) is CPU.from_host(x, wait=False) is CPU.to_host(x) is x
    assert CPU.astype(x, np.float64) is x and CPU.astype(x, np.float32).dtype == np.float32
    with CPU.scope():
        assert CPU.sum_of(x, x).tolist() == [0, 2, 4]


# --- the array module of a device, and of new tensors


def test_every_spelling_of_a_device_has_one_array_module():
    assert namespace("cpu") is namespace("cpu:0") is namespace(Device("cpu")) is namespace(CPU) is CPU
    assert repr(CPU) == "<namespace numpy on cpu>" and pickle.loads(pickle.dumps(CPU)) is CPU


@pytest.mark.host
def test_a_block_goes_before_the_default_and_the_default_before_the_environment(monkeypatch):
    made = {
        name: backend.NumpyNamespace(np, Device("cpu"))
        for name in ("environment", "default", "outer", "inner")
    }
    monkeypatch.setattr(kernels, "_forgetters", list(kernels._forgetters))
    monkeypatch.setattr(backend, "_default", None)
    monkeypatch.setitem(backend._namespaces, ("cpu", 0), made["environment"])
    monkeypatch.setenv("ACCELGRAD_DEVICE", "cpu:0")
    assert namespace() is made["environment"]
    backend.set_default_device(made["default"])
    assert namespace() is made["default"]
    with pytest.raises(ZeroDivisionError), Device("cpu"):
        assert namespace() is made["environment"]
        monkeypatch.setitem(backend._namespaces, ("cpu", 0), made["inner"])
        with Device("cpu"):
            assert namespace() is made["inner"]
        assert namespace() is made["environment"]
        raise ZeroDivisionError
    assert namespace() is made["default"]
    backend.set_default_device(None)
    assert namespace() is made["inner"]


# --- raw arrays


def test_arrays_are_told_from_other_objects():
    assert backend.is_array(np.ones(2)) and not backend.is_array([1.0, 2.0])
    assert not backend.is_array(1.0) and not backend.is_array(accelgrad.ones(2))


@pytest.mark.host
def test_numpys_arrays_and_numbers_belong_to_the_cpu():
    class Own(np.ndarray):
        pass

    for one in (np.ones(2), np.float32(1), np.ones(2).view(Own)):
        assert backend.of_array(one) is CPU
    assert backend.added(np.ones(2), np.ones(2)).tolist() == [2, 2]
    assert backend.added(accelgrad.ones(2), 1.0).tolist() == [2, 2]
    assert not backend.is_pinned(np.ones(2)) and not backend.is_pinned(np.ones(4)[::2])


# --- threads


def test_the_number_of_threads_is_a_positive_integer():
    accelgrad.set_num_threads(1)
    assert accelgrad.get_num_threads() == 1
    for wrong in (0, -1, 1.5):
        with pytest.raises(ValueError, match=f"set_num_threads expects a positive integer, got {wrong}"):
            accelgrad.set_num_threads(wrong)
