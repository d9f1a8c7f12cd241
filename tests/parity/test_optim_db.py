"""PyTorch's own database of optimizers (``optim_db``): its settings give the same paths, its errors the same
words."""

from __future__ import annotations

import copy
import re
import warnings
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import nn, optim

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    common_optimizers = pytest.importorskip("torch.testing._internal.common_optimizers")

INFOS = [info for info in common_optimizers.optim_db if hasattr(optim, info.optim_cls.__name__)]
INPUTS = [
    pytest.param(info, given, id=f"{info.optim_cls.__name__}-{given.desc}")
    for info in INFOS
    for given in info.optim_inputs_func(device="cpu")
]
ERRORS = [
    pytest.param(info, given, id=f"{info.optim_cls.__name__}-{place}")
    for info in INFOS
    for place, given in enumerate(info.optim_error_inputs_func("cpu", torch.float32))
]
TOLERANCE = {"Muon": 0.05, "NAdam": 2e-6, "ASGD": 2e-6}
"""Muon's matrices are bfloat16 in PyTorch; the other two keep their rates in float32 there."""

FASTER_FORMS = "foreach|fused|capturable|differentiable|bool"
"""What chooses between PyTorch's ways of computing the same step."""


def ours(value: Any, known: dict[int, Any] | None = None) -> Any:
    """An argument of PyTorch's as ours; a tensor that occurs twice stays one."""
    known = {} if known is None else known
    if isinstance(value, torch.Tensor):
        if id(value) not in known:
            array = accelgrad.tensor(value.detach().numpy().copy())
            known[id(value)] = nn.Parameter(array) if isinstance(value, torch.nn.Parameter) else array
        return known[id(value)]
    if isinstance(value, list | tuple):
        return type(value)(ours(one, known) for one in value)
    if isinstance(value, dict):
        return {key: ours(one, known) for key, one in value.items()}
    return value


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("info", "given"), INPUTS)
def test_the_path_is_pytorchs(info: Any, given: Any) -> None:
    name = info.optim_cls.__name__
    rng = np.random.default_rng(0)
    shapes = [(5, 4), (3, 6)] if name == "Muon" else [(5, 4), (3,), ()]
    starts = [rng.standard_normal(shape) for shape in shapes]
    theirs = [torch.nn.Parameter(torch.tensor(start)) for start in starts]
    mine = [nn.Parameter(accelgrad.tensor(start)) for start in starts]
    settings = copy.deepcopy(given.kwargs)
    other, own = info.optim_cls(theirs, **settings), getattr(optim, name)(mine, **ours(given.kwargs))
    targets = [rng.standard_normal(shape) for shape in shapes]

    def closure(optimizer: Any, parameters: list[Any], library: Any) -> Any:
        optimizer.zero_grad()
        pairs = zip(parameters, targets, strict=True)
        loss = sum(((one - library.tensor(target)) ** 2).sum() for one, target in pairs)
        loss.backward()
        return loss

    for _ in range(6):
        expected = other.step(lambda: closure(other, theirs, torch))
        found = own.step(lambda: closure(own, mine, accelgrad))
        np.testing.assert_allclose(found.item(), expected.item(), rtol=TOLERANCE.get(name, 1e-6), atol=1e-9)
        for one, two in zip(mine, theirs, strict=True):
            tolerance = TOLERANCE.get(name, 1e-8)
            np.testing.assert_allclose(
                one.detach().numpy(), two.detach().numpy(), rtol=tolerance, atol=tolerance
            )


def tensors(value: Any) -> list[Any]:
    """All tensors in the parameters that an optimizer was given."""
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [one for part in parts for one in tensors(part)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("info", "given"), ERRORS)
def test_wrong_settings_are_refused_in_pytorchs_words(info: Any, given: Any) -> None:
    wrong = given.optimizer_error_input
    if re.search(FASTER_FORMS, f"{wrong.kwargs} {given.error_regex}"):
        pytest.skip("PyTorch chooses another way of computing the same step, which is not offered here")
    if any(one.is_complex() for one in tensors(wrong.params)):
        pytest.skip("complex numbers")
    build = getattr(optim, info.optim_cls.__name__)
    params = [nn.Parameter(accelgrad.zeros(1, 2))] if wrong.params is None else ours(wrong.params)
    if given.error_on is common_optimizers.OptimizerErrorEnum.CONSTRUCTION_ERROR:
        if issubclass(given.error_type, Warning):
            with pytest.warns(given.error_type, match=given.error_regex):
                build(params, **ours(wrong.kwargs))
            return
        with pytest.raises(given.error_type, match=given.error_regex):
            build(params, **ours(wrong.kwargs))
    else:
        optimizer = build(params, **ours(wrong.kwargs))
        with pytest.raises(given.error_type, match=given.error_regex):
            optimizer.step()
