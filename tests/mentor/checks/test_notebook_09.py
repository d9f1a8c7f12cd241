"""The verifiers of notebook 09 accept what is right and refuse what is not."""

from __future__ import annotations

import numpy as np

import accelgrad
from accelgrad import transforms as T
from accelgrad.mentor.checks import check


def test_two_right_statistics():
    assert check("09.statistics", lambda x: (x.mean((0, 2, 3)), x.std((0, 2, 3), unbiased=False)))

    def by_moments(x):
        flat = x.transpose(0, 1).flatten(1)
        mean = flat.mean(1)
        return mean, ((flat - mean.unsqueeze(1)) ** 2).mean(1).sqrt()

    assert check("09.statistics", by_moments)


def test_wrong_statistics_get_a_fitting_hint():
    assert "the std" in check("09.statistics", lambda x: (x.mean((0, 2, 3)), x.std((0, 2, 3)))).message
    assert "dimensions" in check("09.statistics", lambda x: (x.mean(), x.std())).message
    assert "two tensors" in check("09.statistics", lambda x: x.mean((0, 2, 3))).message
    per_image = check("09.statistics", lambda x: (x.mean((1, 2, 3)), x.std((1, 2, 3))))
    assert "the mean" in per_image.message


HALF = [0.5] * 3


def test_two_right_preparations():
    assert check(
        "09.prepare", T.Compose([T.ToTensor(), T.Resize(32), T.CenterCrop(28), T.Normalize(HALF, HALF)])
    )
    assert check(
        "09.prepare", T.Compose([T.Resize(32), T.CenterCrop(28), T.ToTensor(), T.Lambda(lambda t: 2 * t - 1)])
    )


def test_wrong_preparations_get_a_fitting_hint():
    without = T.Compose([T.ToTensor(), T.Resize(32), T.CenterCrop(28)])
    assert "not in -1 ... 1" in check("09.prepare", without).message
    stretched = T.Compose([T.ToTensor(), T.Resize((32, 32)), T.CenterCrop(28), T.Normalize(HALF, HALF)])
    assert "values are wrong" in check("09.prepare", stretched).message
    uncut = T.Compose([T.ToTensor(), T.Resize(32), T.Normalize(HALF, HALF)])
    assert "not (3, 28, 28)" in check("09.prepare", uncut).message
    too_early = T.Compose([T.Normalize(HALF, HALF), T.ToTensor(), T.Resize(32), T.CenterCrop(28)])
    assert check("09.prepare", too_early).state == "wrong"
    drawn = T.Compose([T.ToTensor(), T.Resize(32), T.RandomCrop(28), T.Normalize(HALF, HALF)])
    assert check("09.prepare", drawn).state == "wrong"


class RandomSalt(T.Transform):
    def __init__(self, p):
        self.p = p

    def forward(self, img):
        white = accelgrad.rand(1, *img.shape[-2:]) < self.p
        return accelgrad.where(white, accelgrad.ones_like(img), img)


class ByMask(RandomSalt):
    def forward(self, img):
        img = img.clone()
        img[:, accelgrad.rand(img.shape[-2:]) < self.p] = 1.0
        return img


class EachChannel(RandomSalt):
    def forward(self, img):
        return accelgrad.where(accelgrad.rand_like(img) < self.p, accelgrad.ones_like(img), img)


class InPlace(RandomSalt):
    def forward(self, img):
        img[:, accelgrad.rand(img.shape[-2:]) < self.p] = 1.0
        return img


class Foreign(RandomSalt):
    def forward(self, img):
        white = np.random.default_rng().random(img.shape[-2:]) < self.p
        return accelgrad.where(accelgrad.tensor(white), accelgrad.ones_like(img), img)


class Opposite(RandomSalt):
    def forward(self, img):
        white = accelgrad.rand(1, *img.shape[-2:]) > self.p * 1.2
        return accelgrad.where(white, accelgrad.ones_like(img), img)


class Fixed(RandomSalt):
    def forward(self, img):
        accelgrad.manual_seed(3)
        return super().forward(img)


def test_two_right_salts():
    assert check("09.salt", RandomSalt)
    assert check("09.salt", ByMask)


def test_wrong_salts_get_a_fitting_hint():
    assert "in all channels" in check("09.salt", EachChannel).message
    assert "the input after the call" in check("09.salt", InPlace).message
    assert "manual_seed" in check("09.salt", Foreign).message
    assert "share of white" in check("09.salt", Opposite).message
    assert "the same pixels" in check("09.salt", Fixed).message
    assert "class" in check("09.salt", RandomSalt(0.5)).message
