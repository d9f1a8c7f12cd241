"""The exercises of notebook 06, hooks that look at gradients and change them."""

from __future__ import annotations

from typing import Any

import numpy as np

import accelgrad
from accelgrad import nn
from accelgrad.mentor.checks import exercise, require, same, trials


@exercise("06.reverse", "a function that passes values on and turns gradients round")
def reverse(answer: Any) -> None:
    """A function of a tensor; verified by value, gradient, and what the input's other uses receive."""
    require(callable(answer), "reverse is a function of a tensor")
    for rng in trials(4):
        values = rng.normal(size=(2, int(rng.integers(1, 5)))).astype(np.float32)
        factor = rng.normal(size=values.shape).astype(np.float32)
        x = accelgrad.tensor(values, requires_grad=True)
        y = answer(x)
        same(y, values, "the output")
        (y * accelgrad.tensor(factor)).sum().backward()
        require(x.grad is not None, "no gradient arrives at x: is the graph cut?")
        same(x.grad, -factor, "the gradient of x")
        x = accelgrad.tensor(values, requires_grad=True)
        (answer(x) * accelgrad.tensor(factor)).sum().backward()
        (3 * x).sum().backward()
        same(x.grad, 3 - factor, "the gradient of x where x is also used without reverse")
        x = accelgrad.tensor(values, requires_grad=True)
        answer(answer(x)).sum().backward()
        same(x.grad, np.ones_like(values), "the gradient of x after reverse(reverse(x))")
    same(answer(accelgrad.ones(3)), np.ones(3, np.float32), "the output for a tensor that needs no gradient")


class Branches(nn.Module):
    """Leaves that are called in another order than they are registered, one inside a container."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.last = nn.Linear(width, 2)
        self.body = nn.Sequential(nn.Linear(3, width), nn.ReLU())

    def forward(self, x: Any) -> Any:
        return self.last(self.body(x))


@exercise("06.shapes", "a function that gives the output shape of every leaf module")
def shapes(answer: Any) -> None:
    """A function of a model and an input; verified by the dictionary, its order, and that no hook stays."""
    require(callable(answer), "shapes is a function of (model, x)")
    for rng in trials(3):
        width, count = int(rng.integers(1, 7)), int(rng.integers(1, 5))
        model = Branches(width)
        found = answer(model, accelgrad.zeros(count, 3))
        require(isinstance(found, dict), f"a dictionary is asked for, not a {type(found).__name__}")
        goal = {"body.0": (count, width), "body.1": (count, width), "last": (count, 2)}
        strange = [name for name in found if name not in goal]
        require(not strange, f"{strange} is no leaf of the model" if strange else "")
        require(len(found) == len(goal), f"there are {len(found)} entries for {len(goal)} leaf modules")
        for name, shape in goal.items():
            require(
                tuple(found[name]) == shape, f"the shape of {name!r} is {tuple(found[name])}: whose is that?"
            )
        require(list(found) == list(goal), f"the order is {list(found)}; in which order were they called?")
        left = [name for name, module in model.named_modules() if module._forward_hooks]
        require(not left, f"a hook is left on {left}")


@exercise("06.clip", "a function that registers hooks which limit the norm of each gradient")
def clip(answer: Any) -> None:
    """A function of parameters and a limit; verified by long, short and zero gradients, and by removal."""
    require(callable(answer), "clip is a function of (parameters, limit)")
    for rng in trials(4):
        limit = float(rng.uniform(0.5, 2.0))
        parameters = [accelgrad.zeros(int(rng.integers(2, 6)), requires_grad=True) for _ in range(3)]
        sizes = (10.0 * limit, 0.3 * limit, 0.0)
        gradients = []
        for parameter, length in zip(parameters, sizes, strict=True):
            direction = rng.normal(size=parameter.shape)
            gradients.append((length * direction / np.linalg.norm(direction)).astype(np.float32))
        handles = answer(list(parameters), limit)
        require(isinstance(handles, (list, tuple)), "the handles are asked for, in a list")
        require(len(handles) == 3, f"there are {len(handles)} handles for 3 parameters")
        _backward(parameters, gradients)
        require(parameters[0].grad is not None, "no gradient arrived at the first parameter")
        same(parameters[0].grad, gradients[0] / 10, "a gradient ten times too long", tolerance=1e-4)
        same(parameters[1].grad, gradients[1], "a gradient that is short enough", tolerance=1e-4)
        same(parameters[2].grad, gradients[2], "a gradient of zeros")
        for handle in handles:
            handle.remove()
        for parameter in parameters:
            parameter.grad = None
        _backward(parameters, gradients)
        same(parameters[0].grad, gradients[0], "a gradient after the handles were removed")


def _backward(parameters: list[Any], gradients: list[np.ndarray]) -> None:
    """Walk back so that each of the gradients arrives at its parameter."""
    total = accelgrad.zeros(())
    for parameter, gradient in zip(parameters, gradients, strict=True):
        total = total + (parameter * accelgrad.tensor(gradient)).sum()
    total.backward()
