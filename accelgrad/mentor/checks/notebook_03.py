"""The exercises of notebook 03: the gradient of logistic regression, and its loss without overflow."""

from __future__ import annotations

from typing import Any

import numpy as np

import accelgrad
from accelgrad.mentor.checks import exercise, require, same, trials

__all__: list[str] = []


@exercise("03.gradients", "a function gradients(x, y, w, b) that returns dw (d, 1) and db (scalar)")
def gradients(answer: Any) -> None:
    for rng in trials(4):
        d, m = (int(extent) for extent in rng.permutation([2, 3, 4, 7])[:2])
        x, w, b = rng.normal(size=(d, m)), rng.normal(size=(d, 1)), float(rng.normal())
        y = (rng.uniform(size=(1, m)) > 0.5).astype(np.float64)

        def loss(w: Any, b: float, x: Any = x, y: Any = y) -> float:
            z = w.T @ x + b
            return float(np.mean(np.logaddexp(0, z) - y * z))

        h = 1e-5
        dw = np.zeros_like(w)
        for k in range(d):
            step = np.zeros_like(w)
            step[k] = h
            dw[k] = (loss(w + step, b) - loss(w - step, b)) / (2 * h)
        db = (loss(w, b + h) - loss(w, b - h)) / (2 * h)
        got = answer(
            accelgrad.tensor(x), accelgrad.tensor(y), accelgrad.tensor(w), accelgrad.tensor(b).double()
        )
        require(
            isinstance(got, tuple | list) and len(got) == 2,
            f"two gradients are asked for, dw and db; you returned a {type(got).__name__}",
        )
        first, second = got
        if getattr(first, "shape", None) == (d, 1):
            have = np.asarray(first.tolist())
            for factor, hint in (
                (-1, "dw has the right size but the opposite sign: which minus which?"),
                (m, f"dw is too large by the factor {m}, the number of samples"),
            ):
                require(not np.allclose(have, factor * dw, atol=1e-8), hint)
        same(first, dw, f"dw for x of shape {(d, m)}", tolerance=1e-4)
        require(
            getattr(second, "ndim", 0) == 0,
            f"db has shape {tuple(getattr(second, 'shape', ()))}; b is a scalar, and so is its gradient",
        )
        require(
            abs(float(second) - m * db) > 1e-6 or abs(db) < 1e-5,
            f"db is too large by the factor {m}, the number of samples",
        )
        same(second, db, "db", tolerance=1e-4)


@exercise("03.stable", "a function stable(z, y) that returns each sample's loss for scores up to 200")
def stable(answer: Any) -> None:
    for number, rng in enumerate(trials(4)):
        reach = 3.0 if number == 0 else 200.0
        z = rng.uniform(-reach, reach, size=12).astype(np.float32)
        y = (rng.uniform(size=12) > 0.5).astype(np.float32)
        if number:
            z[:4], y[:4] = [200.0, 200.0, -200.0, -200.0], [0.0, 1.0, 0.0, 1.0]
        wanted = np.logaddexp(0, z.astype(np.float64)) - y * z.astype(np.float64)
        scores = accelgrad.tensor(z, requires_grad=True)
        got = answer(scores, accelgrad.tensor(y))
        require(
            getattr(got, "shape", None) != (), "you returned one number: the loss of each sample is asked for"
        )
        if getattr(got, "shape", None) == (12,):
            have = np.asarray(got.tolist())
            for bad, word in ((np.isnan(have), "nan"), (np.isinf(have), "infinite")):
                if bad.any():
                    place = int(np.argmax(bad))
                    require(False, f"for z = {z[place]:g} and y = {y[place]:g} your loss is {word}")
            require(
                not np.allclose(have, -wanted, atol=1e-3), "every loss is negative: a minus sign is missing"
            )
        same(got, wanted, f"the loss for scores up to {reach:g}")
        got.sum().backward()
        require(scores.grad is not None, "no gradient arrives at z: was the loss made from z itself?")
        if scores.grad is not None:
            slope = 1 / (1 + np.exp(-np.clip(z.astype(np.float64), -700, 700))) - y
            require(
                np.allclose(scores.grad.tolist(), slope, atol=1e-4),
                "the losses are right, but their gradient is not: some branch passes none, or nan",
            )
