"""The checks of notebook 00 accept every right answer and say what is wrong with the others."""

from __future__ import annotations

import pytest

import accelgrad as torch
from accelgrad import check
from accelgrad.nn import functional as F


def refused(name, answer, hint):
    verdict = check(name, answer)
    assert verdict.state == "wrong" and hint in verdict.message, verdict


def by_loop(model):
    total = 0
    for parameter in model.parameters():
        if parameter.requires_grad:
            extent = 1
            for one in parameter.shape:
                extent *= one
            total += extent
    return total


@pytest.mark.parametrize(
    "answer", [by_loop, lambda model: sum(p.numel() for p in model.parameters() if p.requires_grad)]
)
def test_parameters_counted_in_any_way_are_accepted(answer):
    assert check("00.parameters", answer)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda model: sum(p.numel() for p in model.parameters()), "frozen parameters"),
        (lambda model: len(list(model.parameters())), "how many numbers are in them"),
        (lambda model: sum(p.requires_grad for p in model.parameters()), "how many numbers are in them"),
        (lambda model: sum(t.numel() for t in model.state_dict().values()), "the buffers"),
        (lambda model: sum(len(p) for p in model.parameters() if p.requires_grad), "that is not the value"),
        (lambda model: [p.numel() for p in model.parameters()], "a number is asked for"),
    ],
)
def test_wrong_counts_are_refused_with_a_hint(answer, hint):
    refused("00.parameters", answer, hint)


def counted(scores, labels):
    pairs = zip(scores.tolist(), labels.tolist(), strict=True)
    return sum(row.index(max(row)) == label for row, label in pairs) / len(labels)


@pytest.mark.parametrize(
    "answer", [counted, lambda scores, labels: (scores.argmax(1) == labels).float().mean().item()]
)
def test_accuracies_found_in_any_way_are_accepted(answer):
    assert check("00.accuracy", answer)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda scores, labels: (scores.argmax(1) == labels).float().mean(), "a Python float"),
        (lambda scores, labels: (scores.argmax(1) == labels).sum().item(), "out of how many"),
        (lambda scores, labels: 100 * counted(scores, labels), "in percent"),
        (lambda scores, labels: 1 - counted(scores, labels), "wrong answers"),
        (lambda scores, labels: (scores.argmax(0) == labels).float().mean().item(), "RuntimeError"),
    ],
)
def test_wrong_accuracies_are_refused_with_a_hint(answer, hint):
    refused("00.accuracy", answer, hint)


def with_softmax(model, image):
    model.eval()
    with torch.no_grad():
        shares = F.softmax(model(image[None]), dim=1)[0]
    return shares.argmax().item(), shares.max().item()


@torch.no_grad()
def with_logarithms(model, image):
    model.eval()
    scores = model(image.unsqueeze(0)).squeeze(0)
    best = int(scores.argmax())
    return best, (scores[best] - scores.logsumexp(0)).exp().item()


@pytest.mark.parametrize("answer", [with_softmax, with_logarithms])
def test_predictions_made_in_any_way_are_accepted(answer):
    assert check("00.predict", answer)


def in_training(model, image):
    with torch.no_grad():
        shares = F.softmax(model(image[None]), dim=1)[0]
    return shares.argmax().item(), shares.max().item()


def recording(model, image):
    shares = F.softmax(model.eval()(image[None]), dim=1)[0]
    return shares.argmax().item(), shares.max().item()


def score_only(model, image):
    with torch.no_grad():
        scores = model.eval()(image[None])[0]
    return scores.argmax().item(), scores.max().item()


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (in_training, "training mode"),
        (recording, "a graph was recorded"),
        (score_only, "is the score"),
        (lambda model, image: with_softmax(model, image)[0], "a class and a probability"),
        (lambda model, image: tuple(map(torch.tensor, with_softmax(model, image))), ".item()"),
        (lambda model, image: with_softmax(model, image)[::-1], "an int is asked for"),
    ],
)
def test_wrong_predictions_are_refused_with_a_hint(answer, hint):
    refused("00.predict", answer, hint)
