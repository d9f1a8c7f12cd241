"""Whole derivatives and products with them: the numbers, shapes and nesting are PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad.autograd import functional

CASES: dict[str, Any] = {
    "backward of one value": lambda f, t: f.vjp(lambda x: (x**3).sum(), t(2)),
    "a vector and a Jacobian": lambda f, t: f.vjp(lambda x: x**3, t(2), t(2)),
    "several inputs and outputs": lambda f, t: f.vjp(
        lambda x, y: (x * y, y.sum()), (t(2), t(2)), (t(2), t(2).sum())
    ),
    "a Jacobian and a vector": lambda f, t: f.jvp(lambda x: x.sum() * x, t(3), t(3)),
    "a Jacobian and a vector of several": lambda f, t: f.jvp(
        lambda x, y: (x * y, y.sum()), (t(2), t(2)), (t(2), t(2))
    ),
    "a Jacobian": lambda f, t: f.jacobian(lambda x: x.sum() * x**2, t(2, 3)),
    "Jacobians of several": lambda f, t: f.jacobian(lambda x, y: (x * y.sum(), y**2), (t(2), t(3))),
    "a Hessian": lambda f, t: f.hessian(lambda x: (x**3).sum() * x.sum(), t(3)),
    "Hessians of several": lambda f, t: f.hessian(lambda x, y: (x**2).sum() * y.sum(), (t(2), t(3))),
    "a vector and a Hessian": lambda f, t: f.vhp(lambda x: (x**3).sum() * x.sum(), t(3), t(3)),
    "a Hessian and a vector": lambda f, t: f.hvp(lambda x, y: (x**2 * y).sum(), (t(2), t(2)), (t(2), t(2))),
    "an input without influence": lambda f, t: f.jacobian(lambda x, y: x * 2, (t(2), t(3))),
}


def flat(result: Any) -> Any:
    """The result as nested lists of arrays."""
    return list(map(flat, result)) if isinstance(result, tuple) else result.detach().numpy()


def compare(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, list):
        assert isinstance(ours, list) and len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            compare(one, other)
    else:
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_pytorchs(name: str):
    torch = pytest.importorskip("torch")

    def values(library: Any) -> Any:
        rng = np.random.default_rng(0)
        return lambda *shape: library.tensor(rng.uniform(0.5, 2.0, shape))

    expected = CASES[name](torch.autograd.functional, values(torch))
    compare(flat(CASES[name](functional, values(accelgrad))), flat(expected))


def test_a_jacobian_can_be_differentiated():
    x = accelgrad.tensor([1.0, 2.0], requires_grad=True)
    jacobian = functional.jacobian(lambda x: x**3, x, create_graph=True)
    jacobian.sum().backward()
    assert x.grad.tolist() == [6.0, 12.0]
    assert not functional.jacobian(lambda x: x**3, x).requires_grad


def test_wrong_arguments_are_explained():
    x = accelgrad.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(
        RuntimeError, match="v can only be None if the user-provided function returns a single"
    ):
        functional.vjp(lambda x: x * 2, x)
    with pytest.raises(RuntimeError, match="given to hessian should contain a single element"):
        functional.hessian(lambda x: x * 2, x)
    with pytest.raises(RuntimeError, match="got 1 tensors and 2 gradients"):
        accelgrad.autograd.backward([x], [x, x])
    with pytest.raises(RuntimeError, match="one gradient for each of the 1 outputs, got 2"):
        accelgrad.autograd.grad(x * 2, x, [x, x])
    with pytest.raises(RuntimeError, match="is_grads_batched=True is not supported"):
        accelgrad.autograd.grad(x * 2, x, is_grads_batched=True)
    with pytest.raises(ValueError, match="Expected allow_unused to be True or not passed"):
        accelgrad.autograd.grad(x * 2, x, allow_unused=False, materialize_grads=True)
    with pytest.raises(TypeError, match=r"grad\(\): inputs must be Tensors, got int"):
        accelgrad.autograd.grad((x * 2).sum(), [3])
    with pytest.raises(RuntimeError, match="One of the differentiated Tensors does not require grad"):
        accelgrad.autograd.grad((x * 2).sum(), accelgrad.ones(2))
