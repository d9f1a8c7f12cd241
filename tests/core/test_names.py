"""What PyTorch shows at the top of its package: functions of layers, in-place forms, constants."""

from __future__ import annotations

import math

import pytest

import accelgrad
from accelgrad import Tensor
from accelgrad.nn import functional as F
from accelgrad.ops.registry import OPS, shown_in

CALLS = {entry.call for entry in OPS.values()}
FUNCTIONAL = [name for name in shown_in("") if f"nn.functional.{name}" in OPS and name not in OPS]
IN_PLACE = [name for name, function in shown_in("").items() if name.endswith("_") and function not in CALLS]


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_functions_of_layers_are_those_of_nn_functional(name):
    assert getattr(accelgrad, name) is getattr(F, name)


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_forms_are_functions_too(name):
    assert getattr(accelgrad, name) is getattr(Tensor, name)
    torch = pytest.importorskip("torch")
    assert callable(getattr(torch, name))


def test_a_function_changes_its_argument():
    x = accelgrad.tensor([1.0, 4.0])
    assert accelgrad.sqrt_(x) is x and x.tolist() == [1.0, 2.0]
    assert not accelgrad.detach(x.requires_grad_()).requires_grad


def test_constants_are_numbers():
    assert (accelgrad.pi, accelgrad.e, accelgrad.inf) == (math.pi, math.e, math.inf)
    assert math.isnan(accelgrad.nan) and accelgrad.newaxis is None
    assert accelgrad.ones(2)[:, accelgrad.newaxis].shape == (2, 1)


def test_the_package_of_data_is_found_without_an_import():
    assert accelgrad.utils.data.DataLoader.__name__ == "DataLoader"
    with pytest.raises(AttributeError, match=r"module 'accelgrad\.utils' has no attribute 'date'"):
        accelgrad.utils.date  # noqa: B018


@pytest.mark.parametrize("name", ["max_pool1d", "adaptive_max_pool1d"])
def test_pools_give_their_places_under_a_name_of_their_own(name):
    x = accelgrad.tensor([[[1.0, 3.0, 2.0, 0.0]]])
    values, places = getattr(F, f"{name}_with_indices")(x, 2)
    assert values.tolist() == [[[3.0, 2.0]]] and places.tolist() == [[[1, 2]]]


@pytest.mark.host
def test_a_tensor_says_that_it_lives_on_the_processor():
    assert accelgrad.ones(1).is_cpu


def test_real_numbers_are_their_own_real_part_and_have_no_imaginary_one():
    x = accelgrad.ones(2)
    assert x.real is x and accelgrad.real(x) is x and x.conj() is x
    with pytest.raises(RuntimeError, match="imag is not implemented for tensors with non-complex dtypes"):
        x.imag  # noqa: B018
