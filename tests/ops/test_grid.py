"""Every registered operation against its NumPy reference and its numerical derivatives, by its samples."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad.arrays import backend
from accelgrad.autograd import gradcheck, gradgradcheck
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.registry import OPS, Arg, Op, Sample

CASES = [
    pytest.param(entry, sample, id=f"{entry.path}-{place}")
    for entry in OPS.values()
    for place, sample in enumerate(entry.samples)
]
ERRORS = [
    pytest.param(entry, *error, id=f"{entry.path}-{place}")
    for entry in OPS.values()
    for place, error in enumerate(entry.errors)
]
TOLERANCE = {"float64": 1e-9, "float32": 2e-4}


def make(
    sample: Sample, device: str, dtype: str = "float64", grad: bool = False, strided: bool = False
) -> tuple[tuple[Any, ...], dict[str, Any], list[Tensor]]:
    """The sample's arguments as tensors, and the list of those tensors."""
    rng = np.random.default_rng(7)
    xp = backend.namespace(device)
    tensors: list[Tensor] = []

    def convert(one: Arg) -> Tensor:
        array = one.make(rng, dtype)
        if strided and array.ndim:
            wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
            wide[..., ::2] = array
            array = wide[..., ::2]
        tensor = wrap(xp.from_host(array) if not strided else array, xp)
        if grad and one.requires_grad:
            tensor.requires_grad_()
        tensors.append(tensor)
        return tensor

    args, kwargs = sample.make(rng, convert)
    return args, kwargs, tensors


def host(sample: Sample, dtype: str = "float64") -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same arguments as NumPy arrays."""
    rng = np.random.default_rng(7)
    return sample.make(rng, lambda one: one.make(rng, dtype))


def leaves(result: Any) -> Iterator[Any]:
    if isinstance(result, tuple | list):
        for part in result:
            yield from leaves(part)
    elif result is not None:
        yield result


def call(entry: Op, args: Any, kwargs: Any) -> Any:
    accelgrad.manual_seed(3)
    return entry.call(*args, **kwargs)


def same(left: Any, right: Any, tolerance: float = 0.0) -> None:
    left, right = list(leaves(left)), list(leaves(right))
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        one = one.detach().numpy(force=True) if isinstance(one, Tensor) else np.asarray(one)
        other = other.detach().numpy(force=True) if isinstance(other, Tensor) else np.asarray(other)
        assert one.shape == other.shape
        if tolerance == TOLERANCE["float64"] and one.dtype == np.float32:  # of integers
            tolerance = 1e-6
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("entry", "sample"), [case for case in CASES if case.values[0].reference is not None]
)
def test_value_equals_the_reference(entry: Op, sample: Sample, dtype: str, device: str) -> None:
    args, kwargs, _ = make(sample, device, dtype)
    host_args, host_kwargs = host(sample, dtype)
    with np.errstate(all="ignore"):
        expected = entry.reference(*host_args, **host_kwargs)  # type: ignore[misc]
    same(call(entry, args, kwargs), expected, TOLERANCE[dtype])


@pytest.mark.parametrize(("entry", "sample"), [case for case in CASES if case.values[0].differentiable])
def test_gradient_equals_the_numerical_one(entry: Op, sample: Sample, device: str) -> None:
    args, kwargs, tensors = make(sample, device, grad=True)
    varied = [one for one in tensors if one.requires_grad]
    if not varied:
        pytest.skip("this sample has no input that takes a gradient")

    def function(*_: Any) -> Any:
        return [
            one for one in leaves(call(entry, args, kwargs)) if isinstance(one, Tensor) and one.requires_grad
        ]

    assert function(), "no result carries a gradient"
    assert gradcheck(function, varied)
    if entry.twice:
        assert gradgradcheck(function, varied, atol=1e-4)


@pytest.mark.parametrize(("entry", "sample"), CASES)
def test_inputs_are_left_alone_and_strides_do_not_matter(entry: Op, sample: Sample, device: str) -> None:
    if entry.name.endswith("_"):
        pytest.skip("changes its input by intention")
    args, kwargs, tensors = make(sample, device)
    before = [one.array.copy() for one in tensors]
    result = call(entry, args, kwargs)
    for one, old in zip(tensors, before, strict=True):
        same(one, wrap(old, one.xp))
    if device == "cpu":
        args, kwargs, _ = make(sample, device, strided=True)
        same(call(entry, args, kwargs), result, 1e-12)


@pytest.mark.parametrize(("entry", "sample"), CASES)
def test_method_in_place_and_out_forms_agree(entry: Op, sample: Sample, device: str) -> None:
    if entry.name.endswith("_"):
        pytest.skip("is an in-place form itself")
    args, kwargs, _ = make(sample, device)
    result = call(entry, args, kwargs)
    if entry.method and args and isinstance(args[0], Tensor):
        accelgrad.manual_seed(3)
        same(getattr(args[0], entry.method)(*args[1:], **kwargs), result)
    if isinstance(result, Tensor) and "out" in inspect.signature(entry.call).parameters:
        out = wrap(result.xp.empty_like(result.array), result.xp)
        assert call(entry, args, {**kwargs, "out": out}) is out
        same(out, result)
    if entry.inplace and isinstance(args[0], Tensor) and isinstance(result, Tensor):
        if result.shape != args[0].shape or not accelgrad.can_cast(result.dtype, args[0].dtype):
            return
        changed = args[0].clone()
        others = [changed if one is args[0] else one for one in args[1:]]
        accelgrad.manual_seed(3)
        assert getattr(changed, f"{entry.name}_")(*others, **kwargs) is changed
        same(changed, result)


@pytest.mark.parametrize(("entry", "sample", "exception", "message"), ERRORS)
def test_wrong_arguments_are_refused(
    entry: Op,
    sample: Sample,
    exception: type[Exception],
    message: str,
    device: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backend.namespace(device), "looks", True)  # on a card values are looked at on demand
    args, kwargs, _ = make(sample, device, "float32")
    with pytest.raises(exception, match=message):
        call(entry, args, kwargs)


@pytest.mark.host
@pytest.mark.parametrize("entry", OPS.values(), ids=OPS)
def test_operation_is_documented_and_exported(entry: Op) -> None:
    assert entry.call.__doc__ and len(entry.call.__doc__) > 20
    place: Any = accelgrad
    for part in entry.path.split("."):
        place = getattr(place, part)
    assert place is entry.call
    assert entry.samples or entry.random or not entry.differentiable, "give the entry samples"
