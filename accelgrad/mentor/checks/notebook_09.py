"""The exercises of notebook 09, transforms."""

from __future__ import annotations

from typing import Any

import numpy as np

import accelgrad
from accelgrad.mentor.checks import exercise, require, same, trials
from accelgrad.transforms import functional as F


@exercise("09.statistics", "a function that gives mean and standard deviation of each channel")
def statistics(answer: Any) -> None:
    """A function of a batch of images; verified against NumPy."""
    require(callable(answer), "statistics is a function of a batch (n, c, h, w)")
    for rng in trials(4):
        n, c, h, w = (int(k) for k in rng.integers(2, 6, size=4))
        images = rng.normal(size=(n, c, h, w)).astype(np.float32) * rng.uniform(0.5, 3, size=(c, 1, 1))
        images = (images + rng.normal(size=(c, 1, 1))).astype(np.float32)
        pair = answer(accelgrad.tensor(images))
        require(isinstance(pair, (tuple, list)) and len(pair) == 2, "two tensors are asked for: mean, std")
        same(pair[0], images.mean((0, 2, 3)), f"the mean for a batch of shape {images.shape}", tolerance=1e-4)
        same(pair[1], images.std((0, 2, 3)), f"the std for a batch of shape {images.shape}", tolerance=1e-4)


@exercise("09.prepare", "a Compose that makes a tensor (3, 28, 28) in -1 ... 1 of bytes of any size")
def prepare(answer: Any) -> None:
    """A transform; verified step by step on pictures of several sizes."""
    require(callable(answer), "prepare is a transform: it is called with an image")
    for rng, (height, width) in zip(trials(4), ((40, 60), (60, 40), (32, 32), (28, 35)), strict=True):
        coarse = rng.integers(0, 256, size=(4, 5, 3)).astype(np.uint8)
        photo = np.kron(coarse, np.ones((height // 4, width // 5, 1), np.uint8)).astype(np.uint8)
        got = answer(photo)
        size = f"for an image of {photo.shape[0]} x {photo.shape[1]}"
        require(
            tuple(getattr(got, "shape", ())) == (3, 28, 28),
            f"the result {size} has shape {tuple(getattr(got, 'shape', ()))}, not (3, 28, 28)",
        )
        require(got.dtype is accelgrad.float32, f"the result {size} is {got.dtype}, not float32")
        require(
            float(got.min()) < -0.05 and float(got.max()) <= 1.001,
            f"the values {size} lie in {float(got.min()):.2f} ... {float(got.max()):.2f}, not in -1 ... 1",
        )
        wanted = F.center_crop(F.resize(F.to_tensor(photo), 32), 28) * 2 - 1
        same(got, wanted, f"the result {size}", tolerance=2e-2)
    same(answer(photo), got, "the result of a second call with the same image")


@exercise("09.salt", "a transform that makes pixels white at random")
def salt(answer: Any) -> None:
    """A class; verified by the share of white pixels, the untouched ones, and its generator."""
    require(isinstance(answer, type), "RandomSalt is a class, made with RandomSalt(p)")
    for rng in trials(3):
        p = float(rng.uniform(0.2, 0.7))
        values = rng.uniform(0.1, 0.8, size=(3, 60, 50)).astype(np.float32)
        image = accelgrad.tensor(values)
        transform = answer(p)
        accelgrad.manual_seed(11)
        first = transform(image)
        same(image, values, "the input after the call")
        require(
            tuple(first.shape) == values.shape,
            f"an image of shape {values.shape} became {tuple(first.shape)}",
        )
        got = first.detach().cpu().numpy()
        white = (got == 1).all(0)
        require(
            bool((white | (got == values).all(0)).all()),
            "some pixels are neither white in all channels nor what they were",
        )
        share = float(white.mean())
        require(abs(share - p) < 0.06, f"with p = {p:.2f} the share of white pixels is {share:.2f}")
        second = transform(image).detach().cpu().numpy()
        require(not np.array_equal(got, second), "two calls whiten the same pixels")
        accelgrad.manual_seed(11)
        same(transform(image), got, "the result after the same manual_seed")
    same(answer(0.0)(image), values, "the result for p = 0")
