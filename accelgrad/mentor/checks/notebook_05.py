"""The exercises of notebook 05, the four steps of an optimizer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import accelgrad
from accelgrad.mentor.checks import exercise, require, same, trials


@exercise("05.momentum", "a function that makes one step of SGD with momentum")
def momentum(answer: Any) -> None:
    """A function of parameters, velocities, learning rate and friction; verified over three steps."""
    require(callable(answer), "momentum_step is a function of (parameters, velocities, lr, mu)")
    for rng in trials(4):
        shapes = [(int(rng.integers(1, 5)), 3), (int(rng.integers(1, 6)),)]
        values = [rng.normal(size=shape).astype("float32") for shape in shapes]
        speeds = [rng.normal(size=shape).astype("float32") for shape in shapes]
        parameters = [_tensor(value).requires_grad_() for value in values]
        velocities = [_tensor(speed) for speed in speeds]
        frozen = accelgrad.ones(2, requires_grad=True)
        rest = accelgrad.ones(2)
        lr, mu = float(rng.uniform(0.01, 0.5)), float(rng.uniform(0.3, 0.95))
        for step in range(3):
            gradients = [rng.normal(size=shape).astype("float32") for shape in shapes]
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = _tensor(gradient)
            answer([*parameters, frozen], [*velocities, rest], lr, mu)
            for place, gradient in enumerate(gradients):
                speeds[place] = mu * speeds[place] + gradient
                values[place] = values[place] - lr * speeds[place]
                name = f"after {step + 1} step{'s' if step else ''}"
                same(velocities[place], speeds[place], f"velocities[{place}] {name}", tolerance=1e-4)
                same(parameters[place], values[place], f"parameters[{place}] {name}", tolerance=1e-4)
                same(parameters[place].grad, gradient, f"parameters[{place}].grad {name}")
        same(frozen, np.ones(2, np.float32), "the parameter without a gradient")
        require(
            all(one.is_leaf and one.requires_grad for one in parameters),
            "the parameters are no longer leaves that require a gradient: was the step recorded?",
        )


@exercise("05.warmup", "a function that gives the learning rate's factor at a step")
def warmup(answer: Any) -> None:
    """A function of the step's number; verified at its corners, in between, and in a LambdaLR."""
    require(callable(answer), "factor is a function of the number of the step")
    corners = {0: 0.0, 5: 0.5, 10: 1.0, 55: 0.5, 100: 0.0, 150: 0.0}
    for step, goal in corners.items():
        value = float(answer(step))
        require(abs(value - goal) < 1e-6, f"factor({step}) is {value:.4g}, and that is not its value")
    for step in range(10, 101):
        goal = math.cos(math.pi * (step - 10) / 180) ** 2
        value = float(answer(step))
        require(abs(value - goal) < 1e-6, f"factor({step}) is {value:.4g}: is that half a cosine?")
    optimizer = accelgrad.optim.SGD([accelgrad.zeros(1, requires_grad=True)], lr=0.4)
    accelgrad.optim.lr_scheduler.LambdaLR(optimizer, answer)
    same(optimizer.param_groups[0]["lr"], 0.0, "the first learning rate of a LambdaLR with this factor")


@exercise("05.border", "the learning rate between converging and diverging")
def border(answer: Any) -> None:
    """A number; verified by descending with a little less and a little more."""
    try:
        rate = float(answer)
    except (TypeError, ValueError):
        require(False, f"a number is asked for, not a {type(answer).__name__}")
    require(math.isfinite(rate) and rate > 0, f"a learning rate is positive and finite, not {rate}")
    require(
        _distance(0.98 * rate) < 1,
        "with 0.98 of this rate gradient descent already goes away from the minimum",
    )
    require(_distance(1.02 * rate) > 1, "with 1.02 of this rate gradient descent still comes nearer")


def _distance(rate: float) -> float:
    """How far from the minimum (0, 0) 400 steps from (1, 1) lead."""
    a, b = 1.0, 1.0
    for _ in range(400):
        a, b = a - rate * 6 * a, b - rate * b
    return math.hypot(a, b)


def _tensor(value: np.ndarray) -> Any:
    """A tensor of its own memory on the default device."""
    return accelgrad.tensor(value.copy())
