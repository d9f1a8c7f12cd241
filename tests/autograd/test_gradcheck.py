"""gradcheck finds wrong first derivatives, gradgradcheck wrong second ones."""

from __future__ import annotations

from typing import Any

import pytest

import accelgrad
from accelgrad.autograd import Function, GradcheckError, gradcheck, gradgradcheck


def leaf(*values: float) -> accelgrad.Tensor:
    return accelgrad.tensor(values, dtype=accelgrad.float64, requires_grad=True)


class Square(Function):
    """x², whose gradient leaves the graph: right once, wrong twice."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad * 2 * ctx.saved_tensors[0].detach()


def test_a_right_gradient_passes_and_a_wrong_one_is_shown():
    assert gradcheck(lambda x, y: (x * y, x.sum()), (leaf(1.0, 2.0), leaf(3.0, 4.0)))
    with pytest.raises(
        GradcheckError, match=r"output 0 with respect to input 0,\nnumerical:[^a]*\nanalytical:"
    ):
        gradcheck(lambda x: x * x.detach(), leaf(1.0, 2.0))
    assert gradcheck(lambda x: x * x.detach(), leaf(1.0), raise_exception=False) is False


def test_the_second_derivative_is_checked_by_itself():
    assert gradcheck(Square.apply, leaf(1.0, 2.0))
    assert gradgradcheck(lambda x: x**3, leaf(1.0, 2.0))
    with pytest.raises(GradcheckError, match="Jacobian mismatch"):
        gradgradcheck(Square.apply, leaf(1.0, 2.0))


def test_an_input_is_as_it_was_afterwards():
    x = leaf(1.0, 2.0)
    assert gradcheck(lambda x: x * 3, x) and x.tolist() == [1.0, 2.0] and x.grad is None


def test_inputs_that_cannot_be_checked_are_refused():
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        gradcheck(lambda x: x, accelgrad.ones(2))
    with pytest.raises(ValueError, match=r"needs float64 inputs to be precise; this one is .*float32"):
        gradcheck(lambda x: x, accelgrad.ones(2, requires_grad=True))
