"""bfloat16 and float16: every operation beside itself in float32, and what the types are as such."""

from __future__ import annotations

import copy
import io
import pickle
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import backend, nn
from accelgrad.ops.registry import OPS, Arg, Op, Sample
from accelgrad.tensor import Tensor, wrap

LOW = {"bfloat16": accelgrad.bfloat16, "float16": accelgrad.float16}
CASES = [
    pytest.param(entry, sample, id=f"{entry.path}-{place}")
    for entry in OPS.values()
    if not entry.random and (entry.differentiable or entry.reference is not None)
    for place, sample in enumerate(entry.samples)
]
REFUSALS = "Low precision dtypes not supported|must be either float or double|not implemented for"
"""What an operation says that has no numbers of 16 bits, as PyTorch's has not."""

COARSE = {"matrix_exp", "linalg.matrix_power", "matrix_power", "mvlgamma", "special.zeta", "polygamma"}
"""Their results grow so fast with the input that the rounding of an intermediate result is seen."""


def leaves(result: Any) -> list[Any]:
    if isinstance(result, tuple | list):
        return [leaf for part in result for leaf in leaves(part)]
    return [] if result is None else [result]


def build(sample: Sample, device: str, kind: Any, low: Any) -> tuple[Any, Any, list[Tensor]]:
    """The sample in one type, its numbers such as ``low`` has."""
    rng, xp = np.random.default_rng(7), backend.namespace(device)
    varied: list[Tensor] = []

    def convert(one: Arg) -> Tensor:
        tensor = wrap(xp.from_host(one.make(rng, "float32")), xp)
        if one.dtype == "float":
            tensor = tensor.to(low).to(kind)
            if one.requires_grad:
                varied.append(tensor.requires_grad_())
        return tensor

    args, kwargs = sample.make(rng, convert)
    return args, kwargs, varied


def numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy()


def near(found: list[Any], wanted: list[Any], low: Any, digits: float) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        if not isinstance(one, Tensor):
            assert type(one) is type(other)
            continue
        assert one.dtype is (low if other.dtype is accelgrad.float32 else other.dtype)
        expected = numbers(other)
        finite = np.abs(expected[np.isfinite(expected)])
        scale = max(1.0, float(finite.max(initial=0.0)))
        if low is accelgrad.float16 and scale > 6e4:
            continue
        np.testing.assert_allclose(numbers(one), expected, rtol=digits, atol=digits * scale)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("low", LOW)
@pytest.mark.parametrize(("entry", "sample"), CASES)
def test_results_and_gradients_are_those_of_float32_rounded(
    entry: Op, sample: Sample, low: str, device: str
) -> None:
    kind = LOW[low]
    args, kwargs, varied = build(sample, device, kind, kind)
    try:
        result = entry.call(*args, **kwargs)
    except (RuntimeError, NotImplementedError) as error:
        assert re.search(REFUSALS, str(error))
        pytest.skip(str(error))
    if entry.name.endswith("_"):
        return  # on a leaf it may only be refused, and that it was not
    args, kwargs, others = build(sample, device, accelgrad.float32, kind)
    expected = entry.call(*args, **kwargs)
    digits = (3e-2 if low == "bfloat16" else 4e-3) * (8 if entry.path in COARSE else 1)
    found, wanted = leaves(result), leaves(expected)
    near(found, wanted, kind, digits)
    pairs = [
        (one, other)
        for one, other in zip(found, wanted, strict=True)
        if isinstance(one, Tensor) and one.requires_grad
    ]
    if not pairs or not varied:
        return
    gradients = []
    for side, inputs in ((0, varied), (1, others)):
        roots = [pair[side] for pair in pairs]
        seeds = [accelgrad.ones_like(one) for one in roots]
        gradients.append(
            accelgrad.autograd.grad(roots, inputs, seeds, allow_unused=True, materialize_grads=True)
        )
    near(list(gradients[0]), list(gradients[1]), kind, 3 * digits)
