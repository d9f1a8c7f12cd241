"""The checks of notebook 02 accept every right answer and say what is wrong with the others."""

from __future__ import annotations

import math

import pytest

import accelgrad as torch
from accelgrad import check
from accelgrad.autograd import Function
from accelgrad.autograd.functional import jacobian as whole_jacobian


def refused(name, answer, hint):
    verdict = check(name, answer)
    assert verdict.state == "wrong" and hint in verdict.message, verdict


def differences(f, x, h=1e-4, both=True, divisor=2.0):
    gradient = torch.zeros_like(x)
    for place in range(x.numel()):
        step = torch.zeros_like(x)
        step.view(-1)[place] = h
        gradient.view(-1)[place] = (f(x + step) - f(x - step if both else x)) / (divisor * h)
    return gradient


def by_autograd(f, x):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(f(x), x)[0]


@pytest.mark.parametrize("answer", [differences, by_autograd])
def test_gradients_found_in_any_way_are_accepted(answer):
    assert check("02.measured", answer)


def moving_x(f, x, h=1e-4):
    return (f(x.add_(h)) - f(x)) / h


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda f, x: differences(f, x, divisor=1.0), "factor of two"),
        (lambda f, x: differences(f, x, both=False, divisor=1.0, h=1e-3), "to both sides"),
        (lambda f, x: (f(x + 1e-4) - f(x - 1e-4)) / 2e-4, "has shape ()"),
        (moving_x, "x after the call"),
    ],
)
def test_wrong_measurements_are_refused_with_a_hint(answer, hint):
    refused("02.measured", answer, hint)


class Plain:
    """A scalar engine with plus and times; subclasses add to it."""

    division = staticmethod(lambda x, y: (1 / y, -x / y**2))
    exponential = staticmethod(lambda x: math.exp(x))

    def __init__(self, data, parents=()):
        self.data, self.parents, self.grad = data, parents, 0.0

    def make(self, data, parents):
        return type(self)(data, parents)

    def lift(self, other):
        return other if isinstance(other, Plain) else self.make(other, ())

    def __add__(self, other):
        return self.make(self.data + other.data, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        return self.make(self.data * other.data, [(self, other.data), (other, self.data)])

    def exp(self):
        return self.make(math.exp(self.data), [(self, self.exponential(self.data))])

    def __truediv__(self, other):
        other = self.lift(other)
        to_self, to_other = self.division(self.data, other.data)
        return self.make(self.data / other.data, [(self, to_self), (other, to_other)])

    def backward(self, grad=1.0):
        self.grad += grad
        for parent, local in self.parents:
            parent.backward(grad * local)


class ByPower(Plain):
    def __pow__(self, n):
        return self.make(self.data**n, [(self, n * self.data ** (n - 1))])

    def __truediv__(self, other):
        return self * self.lift(other) ** -1


@pytest.mark.parametrize("answer", [Plain, ByPower])
def test_engines_of_any_build_are_accepted(answer):
    assert check("02.engine", answer)


class WrongSign(Plain):
    division = staticmethod(lambda x, y: (1 / y, x / y**2))


class PowerRuleForExp(Plain):
    exponential = staticmethod(lambda x: x * math.exp(x - 1))


class NoNumbers(Plain):
    def lift(self, other):
        return other


class Overwrites(Plain):
    def backward(self, grad=1.0):
        self.grad = grad
        for parent, local in self.parents:
            parent.backward(grad * local)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (WrongSign, "the gradient of x / y with respect to y"),
        (PowerRuleForExp, "the gradient of exp(x) with respect to x"),
        (NoNumbers, "AttributeError"),
        (Overwrites, "the gradient of exp(x * y) / (x + y)"),
        (Plain(1.0), "the class itself"),
    ],
)
def test_wrong_engines_are_refused_with_a_hint(answer, hint):
    refused("02.engine", answer, hint)


def row_by_row(f, x):
    x = x.detach().requires_grad_()
    rows = []
    for place in range(len(f(x))):
        x.grad = None
        f(x)[place].backward()
        rows.append(x.grad)
    return torch.stack(rows)


@pytest.mark.parametrize("answer", [row_by_row, whole_jacobian])
def test_jacobians_found_in_any_way_are_accepted(answer):
    assert check("02.jacobian", answer)


def leaves_gradients(f, x):
    x.requires_grad_()
    rows = []
    y = f(x)
    for place in range(len(y)):
        before = 0 if x.grad is None else x.grad.clone()
        y[place].backward(retain_graph=True)
        rows.append(x.grad - before)
    return torch.stack(rows)


def only_one_row(f, x):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(f(x).sum(), x)[0]


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (only_one_row, "the sum of the rows"),
        (lambda f, x: row_by_row(f, x).T, "rows belong to outputs"),
        (leaves_gradients, "left in x.grad"),
        (lambda f, x: torch.autograd.grad(f(x), x), "your code raised RuntimeError"),
    ],
)
def test_wrong_jacobians_are_refused_with_a_hint(answer, hint):
    refused("02.jacobian", answer, hint)


def function(forward, backward):
    class Softplus(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return forward(x)

        @staticmethod
        def backward(ctx, grad):
            return backward(ctx.saved_tensors[0], grad)

    return Softplus


@pytest.mark.parametrize(
    "answer",
    [
        function(lambda x: torch.log1p(torch.exp(x)), lambda x, grad: grad * torch.sigmoid(x)),
        function(lambda x: torch.log(1 + torch.exp(x)), lambda x, grad: grad / (1 + torch.exp(-x))),
    ],
)
def test_functions_written_in_any_way_are_accepted(answer):
    assert check("02.softplus", answer)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (
            function(lambda x: torch.log1p(torch.exp(x)), lambda x, grad: torch.sigmoid(x)),
            "the gradient that arrives",
        ),
        (function(lambda x: torch.exp(x), lambda x, grad: grad * torch.sigmoid(x)), "the value of forward"),
        (
            function(lambda x: torch.log1p(torch.exp(x)), lambda x, grad: grad * torch.exp(x)),
            "the gradient that backward hands on",
        ),
        (lambda x: torch.log1p(torch.exp(x)), "inherits from accelgrad.autograd.Function"),
    ],
)
def test_wrong_functions_are_refused_with_a_hint(answer, hint):
    refused("02.softplus", answer, hint)
