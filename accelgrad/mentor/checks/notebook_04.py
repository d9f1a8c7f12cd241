"""The exercises of notebook 04, Module and Parameter."""

from __future__ import annotations

from typing import Any

import accelgrad
from accelgrad import nn
from accelgrad.mentor.checks import exercise, here, require, same, trials


@exercise("04.scale", "a layer that multiplies every column by a number it learns")
def scale(answer: Any) -> None:
    """A Module class; verified by its registration, its first values, its outputs and its gradient."""
    require(
        isinstance(answer, type) and issubclass(answer, nn.Module),
        "Scale is a class that derives from nn.Module",
    )
    for rng in trials(4):
        width = int(rng.integers(1, 6))
        layer = answer(width)
        numbers = list(layer.parameters())
        require(bool(numbers), "parameters() lists nothing: what is learned has to be an nn.Parameter")
        total = sum(one.numel() for one in numbers)
        require(total == width, f"it learns {total} numbers for {width} columns")
        x = here(rng.normal(size=(3, width)).astype("float32"))
        same(layer(x), x.numpy(force=True), "the output of a new layer")
        with accelgrad.no_grad():
            numbers[0].copy_(here(rng.normal(size=width).astype("float32")).reshape(numbers[0].shape))
        factors = numbers[0].numpy(force=True).reshape(width)
        same(layer(x), x.numpy(force=True) * factors, "the output after the factors were changed")
        layer(x).sum().backward()
        require(
            numbers[0].grad is not None, "no gradient arrives at the factors: is the parameter used as it is?"
        )


@exercise("04.count", "a function that counts the numbers a model learns")
def count(answer: Any) -> None:
    """A function of a model; verified on models with frozen, shared and missing parameters."""
    require(callable(answer), "count is a function of a model")
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False))
    same(answer(model), 16 + 8 + 8, "the count for Linear(3, 4), BatchNorm1d(4), Linear(4, 2) without bias")
    model[0].weight.requires_grad_(False)
    same(answer(model), 32 - 12, "the count after the first weight was frozen")
    same(answer(nn.ReLU()), 0, "the count of nn.ReLU()")
    shared = nn.Linear(5, 5)
    same(answer(nn.Sequential(shared, nn.ReLU(), shared)), 30, "the count where one layer is used twice")
