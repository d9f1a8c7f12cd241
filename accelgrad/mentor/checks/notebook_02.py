"""The exercises of notebook 02: measured gradients, scalar engine, Jacobian, a function of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import accelgrad
from accelgrad.autograd import Function
from accelgrad.mentor.checks import exercise, require, same, trials

__all__: list[str] = []


@exercise("02.measured", "a function measured(f, x) that returns the central differences of f at x")
def measured(answer: Any) -> None:
    for rng in trials(4):
        shape = tuple(int(extent) for extent in rng.integers(1, 4, size=int(rng.integers(1, 3))))
        values = rng.uniform(0.5, 2.0, size=shape)
        factors = rng.uniform(1.0, 2.0, size=shape)
        weights = accelgrad.tensor(factors)
        x = accelgrad.tensor(values)
        got = answer(lambda x, weights=weights: (weights * x**3).sum(), x)
        same(x, values, "x after the call (it must be as before): x")
        wanted = 3 * factors * values**2
        if getattr(got, "shape", None) == shape:
            ratio = np.asarray(got.tolist()) / wanted
            require(
                not (np.allclose(ratio, 2, rtol=1e-3) or np.allclose(ratio, 0.5, rtol=1e-3)),
                "every value is off by the same factor of two: how far are the two points apart?",
            )
            if np.allclose(ratio, 1, rtol=1e-2) and not np.allclose(ratio, 1, rtol=1e-5):
                require(
                    False,
                    "the values are close but not close enough: is the step taken to both sides, and small?",
                )
        same(got, wanted, f"the gradient for x of shape {shape}", tolerance=1e-4)


@exercise("02.engine", "the class of a scalar engine with exp() and division")
def engine(answer: Any) -> None:
    require(
        isinstance(answer, type) and callable(getattr(answer, "backward", None)),
        "hand over the class itself, with a backward method: engine = Value, without brackets",
    )
    cases: list[tuple[str, Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = [
        ("exp(x)", lambda x, y: x.exp(), lambda x, y: math.exp(x)),
        ("x / y", lambda x, y: x / y, lambda x, y: x / y),
        ("x / 4", lambda x, y: x / 4, lambda x, y: x / 4),
        (
            "exp(x * y) / (x + y)",
            lambda x, y: (x * y).exp() / (x + y),
            lambda x, y: math.exp(x * y) / (x + y),
        ),
        ("x / x.exp()", lambda x, y: x / x.exp(), lambda x, y: x / math.exp(x)),
    ]
    for rng in trials(2):
        a, b = (float(one) for one in rng.uniform(0.5, 1.5, size=2))
        for text, theirs, ours in cases:
            x, y = answer(a), answer(b)
            result = theirs(x, y)
            require(hasattr(result, "data"), f"{text} gives a {type(result).__name__}, not a Value")
            same(result.data, ours(a, b), f"the value of {text}")
            result.backward()
            h = 1e-5
            slopes = (
                (ours(a + h, b) - ours(a - h, b)) / (2 * h),
                (ours(a, b + h) - ours(a, b - h)) / (2 * h),
            )
            for name, value, slope in (("x", x, slopes[0]), ("y", y, slopes[1])):
                same(value.grad, slope, f"the gradient of {text} with respect to {name}", tolerance=1e-4)


@exercise("02.jacobian", "a function jacobian(f, x) that returns the matrix (m, n) of derivatives")
def jacobian(answer: Any) -> None:
    for number, rng in enumerate(trials(4)):
        m, n = (int(extent) for extent in rng.permutation([2, 3, 4])[:2])
        values, matrix = rng.normal(size=n), rng.normal(size=(m, n))
        a = accelgrad.tensor(matrix)
        x = accelgrad.tensor(values, requires_grad=bool(number % 2))
        got = answer(lambda x, a=a: (a @ x).sin(), x)
        wanted = np.cos(matrix @ values)[:, None] * matrix
        if getattr(got, "shape", None) == (n,):
            require(
                not np.allclose(got.tolist(), wanted.sum(0)),
                "this is the sum of the rows, as a gradient of ones gives it; each row is asked for",
            )
        if m == n or getattr(got, "shape", None) != (n, m):
            same(got, wanted, f"the Jacobian of a function from {n} to {m} numbers")
        else:
            require(False, f"the result has shape {(n, m)}: rows belong to outputs, columns to inputs")
        require(x.grad is None, "something was left in x.grad: the caller's tensor should stay as it was")


@exercise("02.softplus", "a Function whose forward is log(1 + exp(x)) and whose backward fits")
def softplus(answer: Any) -> None:
    require(
        isinstance(answer, type) and issubclass(answer, Function),
        "hand over a class that inherits from accelgrad.autograd.Function, without brackets",
    )
    for rng in trials(3):
        values, arriving = rng.normal(size=(2, 3)), rng.uniform(1.5, 3.0, size=(2, 3))
        x = accelgrad.tensor(values, requires_grad=True)
        y = answer.apply(x)
        same(y, np.log1p(np.exp(values)), "the value of forward")
        y.backward(gradient=accelgrad.tensor(arriving))
        local = 1 / (1 + np.exp(-values))
        require(x.grad is not None, "no gradient arrived at x: does backward return one?")
        require(
            x.grad is not None and not np.allclose(x.grad.tolist(), local),
            "backward returns the local slope alone: what happened to the gradient that arrives?",
        )
        same(x.grad, arriving * local, "the gradient that backward hands on")
