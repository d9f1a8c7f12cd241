"""The element types: PyTorch's names, promotion, limits, and which NumPy types have a counterpart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import accelgrad
from accelgrad.arrays import dtypes

EVERY = pytest.mark.parametrize("kind", dtypes.ALL, ids=repr)
PAIRS = list(itertools.product(dtypes.ALL, dtypes.ALL))


def test_the_default_type_is_respected():
    accelgrad.set_default_dtype(accelgrad.float64)
    assert accelgrad.tensor(1.0).dtype is accelgrad.float64
    assert accelgrad.zeros(1).dtype is accelgrad.float64
    with pytest.raises(TypeError, match="only floating-point types"):
        accelgrad.set_default_dtype(accelgrad.int64)


def test_pythons_float_stands_for_the_default_type():
    assert dtypes.as_dtype(float) is accelgrad.float32
    accelgrad.set_default_dtype(accelgrad.float64)
    assert dtypes.as_dtype(float) is dtypes.of_number(1.5) is accelgrad.float64
    assert dtypes.of_number(True) is dtypes.as_dtype(bool) is accelgrad.bool
    assert dtypes.of_number(2) is dtypes.as_dtype(int) is accelgrad.int64


# --- a dtype from other things


@EVERY
def test_every_type_is_found_by_its_name_and_by_numpys_type(kind):
    assert dtypes.as_dtype(kind.name) is dtypes.as_dtype(kind) is dtypes.of(kind.numpy) is kind
    assert dtypes.as_dtype(kind.numpy) is kind and dtypes.as_numpy(kind.name) == kind.numpy
    assert kind.itemsize == kind.numpy.itemsize and not kind.is_complex


@EVERY
def test_a_type_says_what_pytorchs_says(kind):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch, kind.name)
    for name in ("is_floating_point", "is_complex", "is_signed", "itemsize"):
        assert getattr(kind, name) == getattr(theirs, name)
    assert dtypes.is_floating(kind.numpy) == theirs.is_floating_point


def test_older_names_stand_for_the_types_with_numbers():
    for name, kind in (("half", "float16"), ("double", "float64"), ("short", "int16"), ("long", "int64")):
        assert getattr(accelgrad, name) is getattr(accelgrad, kind) is dtypes.as_dtype(name)


@pytest.mark.parametrize("wrong", ["<U3", "O", "complex64", "uint16", "datetime64[s]"])
def test_a_numpy_type_without_counterpart_is_refused(wrong):
    with pytest.raises(TypeError, match=r"can't convert np\.ndarray of type numpy\..* supported types are"):
        dtypes.of(np.dtype(wrong))
    with pytest.raises(TypeError, match=r"dtype must be an accelgrad dtype such as accelgrad\.float32, got"):
        dtypes.as_dtype(wrong)


def test_a_type_has_no_other_attributes():
    with pytest.raises(AttributeError, match="'dtype' object has no attribute 'shape'"):
        accelgrad.float32.shape  # noqa: B018
    with pytest.raises(AttributeError, match="'dtype' object has no attribute 'shape'"):
        accelgrad.bfloat16.shape  # noqa: B018


# --- two types meet


def test_two_types_are_promoted_and_cast_as_in_pytorch():
    torch = pytest.importorskip("torch")
    for one, other in PAIRS:
        theirs = getattr(torch, one.name), getattr(torch, other.name)
        assert f"torch.{accelgrad.promote_types(one, other).name}" == str(torch.promote_types(*theirs))
        assert accelgrad.can_cast(one, other) == torch.can_cast(*theirs), (one, other)


def test_tensors_with_dimensions_decide_before_0d_tensors_and_those_before_numbers():
    torch = pytest.importorskip("torch")
    for one, other in PAIRS:
        full, scalar = (getattr(torch, kind.name) for kind in (one, other))
        theirs = torch.result_type(torch.ones(1, dtype=full), torch.ones((), dtype=scalar))
        assert f"torch.{dtypes.combine(one, other, None).name}" == str(theirs), (one, other)
    for kind, number in itertools.product(dtypes.ALL, (True, 2, 2.5)):
        theirs = torch.result_type(torch.ones((), dtype=getattr(torch, kind.name)), number)
        assert f"torch.{dtypes.combine(None, kind, dtypes.of_number(number)).name}" == str(theirs)
    with pytest.raises(TypeError, match="result_type needs at least one operand"):
        dtypes.combine(None, None, None)


# --- limits


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_limits_of_floating_point_types_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    ours, theirs = accelgrad.finfo(getattr(accelgrad, name)), torch.finfo(getattr(torch, name))
    for one in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "dtype"):
        assert getattr(ours, one) == getattr(theirs, one)
    assert ours.resolution == pytest.approx(theirs.resolution, rel=1e-3)


@pytest.mark.parametrize("name", ["uint8", "int8", "int16", "int32", "int64"])
def test_limits_of_integer_types_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    ours, theirs = accelgrad.iinfo(getattr(accelgrad, name)), torch.iinfo(getattr(torch, name))
    for one in ("bits", "max", "min", "dtype"):
        assert getattr(ours, one) == getattr(theirs, one)
    assert repr(ours) == f"iinfo(min={theirs.min}, max={theirs.max}, dtype={name})"


def test_limits_of_the_other_category_are_refused():
    accelgrad.set_default_dtype(accelgrad.float64)
    assert accelgrad.finfo().bits == 64
    with pytest.raises(TypeError, match=r"finfo\(\) requires a floating point dtype, got .*int64; use iinfo"):
        accelgrad.finfo(accelgrad.int64)
    for kind in (accelgrad.float32, accelgrad.bool):
        with pytest.raises(TypeError, match=r"iinfo\(\) requires an integer dtype, got .*; use finfo"):
            accelgrad.iinfo(kind)
