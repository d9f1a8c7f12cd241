"""The verifiers of notebook 04 accept what is right and refuse what is not."""

from __future__ import annotations

import accelgrad
from accelgrad import nn
from accelgrad.mentor.checks import check


class Scale(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.factor = nn.Parameter(accelgrad.ones(width))

    def forward(self, x):
        return x * self.factor


class Diagonal(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.row = nn.Parameter(accelgrad.ones(1, width))

    def forward(self, x):
        return x @ accelgrad.diag(self.row.flatten())


class Plain(Scale):
    def __init__(self, width):
        nn.Module.__init__(self)
        self.factor = accelgrad.ones(width, requires_grad=True)


class OneNumber(Scale):
    def __init__(self, width):
        nn.Module.__init__(self)
        self.factor = nn.Parameter(accelgrad.ones(1))


class Zeros(Scale):
    def __init__(self, width):
        super().__init__(width)
        nn.init.zeros_(self.factor)


class Detached(Scale):
    def forward(self, x):
        return (x * self.factor.detach()).requires_grad_()


def test_two_right_scales():
    assert check("04.scale", Scale)
    assert check("04.scale", Diagonal)


def test_wrong_scales_get_a_fitting_hint():
    assert "nn.Parameter" in check("04.scale", Plain).message
    assert (
        "it learns 1 numbers" in check("04.scale", OneNumber).message
        or check("04.scale", OneNumber).state == "wrong"
    )
    assert "the output of a new layer" in check("04.scale", Zeros).message
    assert "no gradient arrives" in check("04.scale", Detached).message
    assert check("04.scale", ...).state == "open"


def test_counts():
    assert check("04.count", lambda model: sum(p.numel() for p in model.parameters() if p.requires_grad))

    def by_shape(model):
        total = 0
        for parameter in model.parameters():
            size = 1
            for extent in parameter.shape:
                size *= extent
            total += size if parameter.requires_grad else 0
        return total

    assert check("04.count", by_shape)
    assert "frozen" in check("04.count", lambda model: sum(p.numel() for p in model.parameters())).message
    assert check("04.count", lambda model: len(list(model.parameters()))).state == "wrong"
    assert (
        check("04.count", lambda model: sum(p.numel() for p in model.state_dict().values())).state == "wrong"
    )
