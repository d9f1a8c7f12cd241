"""The registry's samples through PyTorch: values, types, shapes, first and second gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad.arrays.dtypes import dtype as accelgrad_dtype
from accelgrad.autograd import grad
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.registry import OPS, Arg, Op, Sample

torch = pytest.importorskip("torch")

CASES = [
    pytest.param(entry, sample, id=f"{entry.path}-{place}")
    for entry in OPS.values()
    for place, sample in enumerate(entry.samples)
    if entry.torch != "none"
]
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}


def theirs(entry: Op) -> Any:
    place: Any = torch
    for part in (entry.torch or entry.path).split("."):
        place = getattr(place, part, None)
        if place is None:
            pytest.skip(f"PyTorch has no {entry.torch or entry.path}; name its counterpart by op(torch=...)")
    return place


def foreign(value: Any) -> Any:
    """An option of ours as PyTorch's: dtypes, devices, tensors."""
    if isinstance(value, accelgrad_dtype):
        return getattr(torch, value.name)
    if isinstance(value, Tensor):
        return torch.from_numpy(value.detach().numpy().copy())
    if isinstance(value, list | tuple):
        return type(value)(foreign(part) for part in value)
    return value


def both(sample: Sample, dtype: str) -> tuple[Any, Any]:
    """(args, kwargs, differentiable tensors), ours and PyTorch's."""
    rng = np.random.default_rng(11)
    ours: list[Tensor] = []
    others: list[Any] = []

    def mine(one: Arg) -> Tensor:
        tensor = wrap(one.make(rng, dtype))
        if one.requires_grad:
            ours.append(tensor.requires_grad_())
        return tensor

    args, kwargs = sample.make(rng, mine)
    rng = np.random.default_rng(11)

    def other(one: Arg) -> Any:
        tensor = torch.from_numpy(one.make(rng, dtype))
        if one.requires_grad:
            others.append(tensor.requires_grad_())
        return tensor

    other_args, other_kwargs = sample.make(rng, other)
    other_args, other_kwargs = (
        foreign(other_args),
        {key: foreign(value) for key, value in other_kwargs.items()},
    )
    return (args, kwargs, ours), (other_args, other_kwargs, others)


def flat(result: Any) -> list[Any]:
    if isinstance(result, tuple | list):
        return [leaf for part in result for leaf in flat(part)]
    return [] if result is None else [result]


def agree(ours: Any, others: Any, dtype: str, what: str) -> None:
    ours, others = flat(ours), flat(others)
    assert len(ours) == len(others), what
    for mine, other in zip(ours, others, strict=True):
        if not isinstance(other, torch.Tensor):
            assert mine == other, what
            continue
        assert str(mine.dtype).removeprefix("accelgrad.") == str(other.dtype).removeprefix("torch."), what
        assert tuple(mine.shape) == tuple(other.shape), what
        tolerance = TOLERANCE.get(mine.dtype.name, TOLERANCE[dtype])  # integers become float32
        np.testing.assert_allclose(
            mine.detach().numpy(), other.detach().resolve_neg().numpy(force=True),
            rtol=tolerance, atol=tolerance, equal_nan=True, err_msg=what,
        )  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # PyTorch's own deprecations
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("entry", "sample"), CASES)
def test_values_and_gradients_equal_pytorchs(entry: Op, sample: Sample, dtype: str) -> None:
    function = theirs(entry)
    (args, kwargs, ours), (other_args, other_kwargs, others) = both(sample, dtype)
    mine, other = entry.call(*args, **kwargs), function(*other_args, **other_kwargs)
    if entry.random:
        assert [tuple(one.shape) for one in flat(mine)] == [tuple(one.shape) for one in flat(other)]
        return
    agree(mine, other, dtype, "value")
    if not entry.differentiable or not ours or entry.name.endswith("_"):
        return
    mine = [one for one in flat(mine) if isinstance(one, Tensor) and one.requires_grad]
    other = [one for one in flat(other) if isinstance(one, torch.Tensor) and one.requires_grad]
    assert len(mine) == len(other)
    rng = np.random.default_rng(5)
    weights = [rng.standard_normal(tuple(one.shape)).astype(dtype) for one in mine]
    first = grad(mine, ours, [wrap(w) for w in weights], create_graph=entry.twice, allow_unused=True)
    expected = torch.autograd.grad(
        other, others, [torch.from_numpy(w) for w in weights], create_graph=True, allow_unused=True
    )
    for one, two, leaf in zip(first, expected, ours, strict=True):
        zero = torch.zeros(tuple(leaf.shape), dtype=getattr(torch, dtype))
        nothing = wrap(np.zeros(leaf.shape, dtype))
        agree(nothing if one is None else one, zero if two is None else two, dtype, "gradient")
    if not entry.twice or dtype == "float32":
        return
    pairs = [
        (one, two)
        for one, two in zip(first, expected, strict=True)
        if one is not None and two is not None and one.requires_grad and two.requires_grad
    ]
    if pairs:
        second = grad([one.sum() for one, _ in pairs], ours, allow_unused=True, materialize_grads=True)
        try:
            wanted = torch.autograd.grad([two.sum() for _, two in pairs], others, allow_unused=True)
        except (RuntimeError, NotImplementedError):
            return  # PyTorch has no second derivative here
        wanted = [
            torch.zeros_like(leaf) if one is None else one for one, leaf in zip(wanted, others, strict=True)
        ]
        agree(list(second), wanted, dtype, "second gradient")


def test_the_comparison_covers_most_of_the_registry() -> None:
    missing = [entry.path for entry in OPS.values() if entry.torch == "none"]
    assert len(missing) < len(OPS) / 20, f"no counterpart in PyTorch: {missing}"
    assert accelgrad.Tensor is Tensor
