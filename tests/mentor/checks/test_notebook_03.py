"""The checks of notebook 03 accept every right answer and say what is wrong with the others."""

from __future__ import annotations

import pytest

import accelgrad as torch
from accelgrad import check
from accelgrad.nn import functional as F


def refused(name, answer, hint):
    verdict = check(name, answer)
    assert verdict.state == "wrong" and hint in verdict.message, verdict


def by_formula(x, y, w, b):
    error = torch.sigmoid(w.T @ x + b) - y
    return x @ error.T / x.shape[1], error.mean()


def sample_by_sample(x, y, w, b):
    dw, db = torch.zeros_like(w), torch.zeros_like(b)
    for i in range(x.shape[1]):
        error = 1 / (1 + torch.exp(-(x[:, i] @ w[:, 0] + b))) - y[0, i]
        dw = dw + (error * x[:, i]).unsqueeze(1) / x.shape[1]
        db = db + error / x.shape[1]
    return dw, db


@pytest.mark.parametrize("answer", [by_formula, sample_by_sample])
def test_gradients_derived_in_any_way_are_accepted(answer):
    assert check("03.gradients", answer)


def changed(dw=lambda value, m: value, db=lambda value, m: value):
    def answer(x, y, w, b):
        first, second = by_formula(x, y, w, b)
        return dw(first, x.shape[1]), db(second, x.shape[1])

    return answer


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (changed(dw=lambda value, m: -value), "the opposite sign"),
        (changed(dw=lambda value, m: m * value), "the number of samples"),
        (changed(db=lambda value, m: m * value), "db is too large"),
        (changed(dw=lambda value, m: value.T), "the right extents in another order"),
        (changed(db=lambda value, m: value.reshape(1, 1)), "b is a scalar"),
        (lambda x, y, w, b: by_formula(x, y, w, b)[0], "dw and db"),
        (lambda x, y, w, b: by_formula(x, y, w, 0 * b), "values are wrong"),
        (lambda x, y, w, b: by_formula(x, 0 * y, w, b), "values are wrong"),
    ],
)
def test_wrong_gradients_are_refused_with_a_hint(answer, hint):
    refused("03.gradients", answer, hint)


@pytest.mark.parametrize(
    "answer",
    [
        lambda z, y: z.clamp(min=0) - z * y + torch.log1p(torch.exp(-z.abs())),
        lambda z, y: F.softplus(z) - z * y,
        lambda z, y: -(y * F.logsigmoid(z) + (1 - y) * F.logsigmoid(-z)),
        lambda z, y: F.binary_cross_entropy_with_logits(z, y, reduction="none"),
    ],
)
def test_stable_losses_of_any_form_are_accepted(answer):
    assert check("03.stable", answer)


def naive(z, y):
    yhat = torch.sigmoid(z)
    return -(y * torch.log(yhat) + (1 - y) * torch.log(1 - yhat))


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (naive, "your loss is"),
        (lambda z, y: torch.log(1 + torch.exp(z)) - z * y, "your loss is infinite"),
        (lambda z, y: z * y - F.softplus(z), "a minus sign is missing"),
        (lambda z, y: (F.softplus(z) - z * y).mean(), "each sample"),
        (lambda z, y: F.softplus(z), "values are wrong"),
        (lambda z, y: F.softplus(z.detach()) - z * y, "their gradient is not"),
    ],
)
def test_wrong_losses_are_refused_with_a_hint(answer, hint):
    refused("03.stable", answer, hint)
