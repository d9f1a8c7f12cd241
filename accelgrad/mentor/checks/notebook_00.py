"""The exercises of notebook 00: counting parameters, accuracy, one prediction."""

from __future__ import annotations

from typing import Any

import numpy as np

import accelgrad
from accelgrad import nn
from accelgrad.mentor.checks import exercise, require, same, trials

__all__: list[str] = []


@exercise("00.parameters", "a function that takes a model and returns the number of its trainable numbers")
def parameters(answer: Any) -> None:
    for rng in trials(4):
        inputs, hidden, outputs = (int(extent) for extent in rng.integers(2, 9, size=3))
        frozen = nn.Linear(hidden, hidden)
        for parameter in frozen.parameters():
            parameter.requires_grad_(False)
        model = nn.Sequential(
            nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), frozen, nn.Linear(hidden, outputs)
        )
        wanted = inputs * hidden + hidden + 2 * hidden + hidden * outputs + outputs
        still = hidden * hidden + hidden
        got = answer(model)
        require(
            not isinstance(got, accelgrad.Tensor) and np.ndim(got) == 0,
            f"a number is asked for, you returned a {type(got).__name__}",
        )
        require(got != 6, "6 is the number of parameter tensors; how many numbers are in them?")
        require(got != 8, "8 is the number of parameter tensors; how many numbers are in them?")
        require(
            got != wanted + still,
            f"you count {got}: frozen parameters (requires_grad=False) are among them",
        )
        require(
            got != wanted + 2 * hidden + 1 and got != wanted + still + 2 * hidden + 1,
            f"you count {got}: that includes the buffers of batch normalisation, which no optimizer trains",
        )
        same(got, wanted, f"the count for Linear({inputs}, {hidden}), BatchNorm1d, a frozen layer and Linear")


@exercise("00.accuracy", "a function of scores (n, classes) and labels (n,) that returns a float")
def accuracy(answer: Any) -> None:
    for rng in trials(6):
        n, classes = int(rng.integers(5, 12)), int(rng.integers(3, 6))
        scores = rng.normal(size=(n, classes))
        labels = rng.integers(0, classes, size=n)
        labels[0] = scores[0].argmax()
        labels[1] = scores[1].argmin()
        got = answer(accelgrad.tensor(scores), accelgrad.tensor(labels))
        right = int((scores.argmax(1) == labels).sum())
        require(
            not isinstance(got, accelgrad.Tensor),
            f"you return a tensor of shape {tuple(getattr(got, 'shape', ()))}; a Python float is asked for",
        )
        require(got != right, f"{got} is a number of right answers: out of how many?")
        require(
            right == 0 or abs(float(got or 0) - 100 * right / n) > 1e-3,
            f"{got} is in percent; a share between 0 and 1 is asked for",
        )
        require(
            2 * right == n or abs(float(got or 0) - (1 - right / n)) > 1e-6,
            f"{got} is the share of wrong answers",
        )
        same(got, right / n, f"the accuracy of {n} samples in {classes} classes")


@exercise("00.predict", "a function of a model and an image (1, 8, 8) that returns class and probability")
def predict(answer: Any) -> None:
    for rng in trials(3):
        weight = rng.normal(size=(10, 64))
        model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))
        with accelgrad.no_grad():
            model[2].weight.copy_(accelgrad.tensor(weight))
            model[2].bias.zero_()
        image = rng.uniform(size=(1, 8, 8))
        model.train()
        graphs: list[bool] = []
        model.register_forward_hook(
            lambda module, inputs, output, graphs=graphs: graphs.append(output.requires_grad)
        )
        got = answer(model, accelgrad.tensor(image, dtype=accelgrad.float32))
        require(
            isinstance(got, tuple) and len(got) == 2,
            f"a class and a probability are asked for, you returned a {type(got).__name__}",
        )
        label, share = got
        require(
            not isinstance(label, accelgrad.Tensor) and not isinstance(share, accelgrad.Tensor),
            "you return a tensor; .item() makes a Python number of it",
        )
        scores = (weight.astype(np.float32) @ image.astype(np.float32).reshape(-1)).astype(np.float64)
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        require(
            not model.training,
            "the model was in training mode: dropout was at work, and the next call would say something else",
        )
        require(
            isinstance(label, int | np.integer),
            f"the class is a {type(label).__name__}; an int is asked for",
        )
        require(
            abs(float(share) - float(scores.max())) > 1e-3 or abs(float(share) - float(shares.max())) < 1e-3,
            f"{share} is the score; its probability is asked for",
        )
        same(label, int(scores.argmax()), "the class")
        same(share, float(shares.max()), "the probability", tolerance=1e-4)
        require(not any(graphs), "right, but a graph was recorded for nothing: how is that switched off?")
