"""The verifiers of notebook 05 accept what is right and refuse what is not."""

from __future__ import annotations

import math

import accelgrad
from accelgrad.mentor.checks import check


def momentum_step(parameters, velocities, lr, mu):
    with accelgrad.no_grad():
        for p, v in zip(parameters, velocities, strict=True):
            if p.grad is not None:
                v.mul_(mu).add_(p.grad)
                p.sub_(lr * v)


def momentum_by_copying(parameters, velocities, lr, mu):
    for p, v in zip(parameters, velocities, strict=True):
        if p.grad is None:
            continue
        v.copy_(mu * v + p.grad)
        with accelgrad.no_grad():
            p.copy_(p - lr * v)


def test_two_right_momentum_steps():
    assert check("05.momentum", momentum_step)
    assert check("05.momentum", momentum_by_copying)


def test_a_velocity_that_averages_is_refused():
    def averaged(parameters, velocities, lr, mu):
        with accelgrad.no_grad():
            for p, v in zip(parameters, velocities, strict=True):
                if p.grad is not None:
                    v.mul_(mu).add_(p.grad, alpha=1 - mu)
                    p.sub_(lr * v)

    assert "velocities[0] after 1 step" in check("05.momentum", averaged).message


def test_a_velocity_that_is_not_kept_is_refused():
    def forgetful(parameters, velocities, lr, mu):
        with accelgrad.no_grad():
            for p, v in zip(parameters, velocities, strict=True):
                if p.grad is not None:
                    v = mu * v + p.grad  # the mistake: the list keeps the old one
                    p.sub_(lr * v)

    assert "velocities[0]" in check("05.momentum", forgetful).message


def test_a_step_uphill_is_refused():
    def uphill(parameters, velocities, lr, mu):
        momentum_step(parameters, velocities, -lr, mu)

    assert "parameters[0] after 1 step" in check("05.momentum", uphill).message


def test_a_step_without_regard_for_missing_gradients_is_refused():
    def careless(parameters, velocities, lr, mu):
        with accelgrad.no_grad():
            for p, v in zip(parameters, velocities, strict=True):
                v.mul_(mu).add_(p.grad)
                p.sub_(lr * v)

    assert "your code raised" in check("05.momentum", careless).message


def test_a_step_that_is_recorded_is_refused():
    def recorded(parameters, velocities, lr, mu):
        for p, v in zip(parameters, velocities, strict=True):
            if p.grad is not None:
                v.mul_(mu).add_(p.grad)
                p -= lr * v  # the mistake: outside no_grad()

    assert "leaf" in check("05.momentum", recorded).message


def factor(step):
    if step < 10:
        return step / 10
    return 0.5 * (1 + math.cos(math.pi * min((step - 10) / 90, 1)))


def test_two_right_factors():
    assert check("05.warmup", factor)
    assert check(
        "05.warmup",
        lambda step: min(step / 10, math.cos(math.pi / 2 * min(max(step - 10, 0) / 90, 1)) ** 2),
    )


def test_wrong_factors_get_a_fitting_hint():
    assert "factor(0)" in check("05.warmup", lambda step: factor(step + 1)).message
    assert (
        "factor(150)"
        in check(
            "05.warmup",
            lambda step: step / 10 if step < 10 else 0.5 + 0.5 * math.cos(math.pi * (step - 10) / 90),
        ).message
    )
    straight = check("05.warmup", lambda step: min(step / 10, max(0, (100 - step) / 90)))
    assert "half a cosine" in straight.message
    assert check("05.warmup", 0.5).state == "wrong"
    assert check("05.warmup", ...).state == "open"


def test_borders():
    assert check("05.border", 1 / 3)
    assert check("05.border", accelgrad.tensor(2.0) / 6)


def test_wrong_borders_get_a_fitting_hint():
    assert "already goes away" in check("05.border", 2 / 1).message
    assert "still comes nearer" in check("05.border", 1 / 6).message
    assert "positive" in check("05.border", -1.0).message
    assert "a number" in check("05.border", "two sixths").message
